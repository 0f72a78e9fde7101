"""Verdicts are arithmetic on numbers."""

# ruff: noqa: RUF001

from __future__ import annotations

from dataclasses import replace

import pytest

from biasmatters.paper import (
    Finding,
    PublishedNumber,
    Verdict,
    combine,
    judge,
    judge_claim,
    load_claims,
    load_published,
)

BOOK = load_published()
ALL, BIAS = BOOK.numbers["table1.fashion_mnist.all"], BOOK.numbers["table1.fashion_mnist.bias"]


@pytest.mark.parametrize(
    ("ours", "published", "finding"),
    [
        (94.7, ALL, "reproduced"),
        (93.7, ALL, "reproduced"),
        (95.7, ALL, "reproduced"),
        (93.6, ALL, "differs"),
        (95.8, ALL, "better"),
        (80.0, BIAS, "differs"),
        (10.0, BIAS, "differs"),
        (29.6, BIAS, "reproduced"),
        (None, ALL, "not run at this scale"),
        (91.0, None, "no published number"),
        (None, None, "no published number"),
        (0.995, BOOK.numbers["sixt.csc.vgg16"], "reproduced"),
        (0.5, BOOK.numbers["sixt.csc.vgg16"], "differs"),
        (0.6, BOOK.numbers["sixt.ssim.others"], "reproduced"),
        (0.05, BOOK.numbers["rise.code.deletion"], "better"),
        (0.20, BOOK.numbers["rise.code.deletion"], "differs"),
    ],
)
def test_one_number(ours: float | None, published: PublishedNumber | None, finding: str) -> None:
    assert judge(ours, published).finding == finding


def test_the_arithmetic_is_shown() -> None:
    assert judge(91.4, ALL).arithmetic == "91.4 − 94.7 = −3.3; |−3.3| > 1"
    gap = BOOK.numbers["table1.fashion_mnist.gap"]
    assert judge(-0.9, gap).arithmetic == "−0.9 − (−0.6) = −0.3; |−0.3| ≤ 1"
    assert judge(None, ALL).arithmetic == "published 94.7"


def test_a_wider_tolerance_can_only_help() -> None:
    assert judge(90.0, ALL).finding == "differs"
    assert judge(90.0, replace(ALL, tolerance=5.0)).finding == "reproduced"


def joint(*findings: Finding, order: Finding | None = None) -> str:
    told = None if order is None else Verdict(order, "")
    return combine([Verdict(f, "") for f in findings], told).finding


def test_joint_verdicts() -> None:
    assert joint("reproduced", "reproduced") == "reproduced"
    assert joint("reproduced", "better") == "better"
    assert joint("reproduced", "differs") == "differs"
    assert joint("reproduced", "differs", order="order agrees") == "order agrees"
    assert joint("reproduced", "differs", order="differs") == "differs"
    assert joint("differs", "differs", order="not run at this scale") == "differs"
    assert joint("not run at this scale", "not run at this scale") == "not run at this scale"
    assert joint("no published number", "no published number") == "no published number"
    assert joint("reproduced", "not run at this scale") == "reproduced"


def test_a_partial_row_says_what_was_not_compared() -> None:
    parts = [Verdict("reproduced", ""), Verdict("not run at this scale", "")]
    assert "1 not compared" in combine(parts).arithmetic


def test_orders() -> None:
    claim = load_claims("table1.fashion_mnist.order")[0]
    names = [n.id for n in claim.numbers]
    good = judge_claim(claim, dict(zip(names, (91.8, 88.2, 7.7), strict=True)))
    assert good == Verdict("order agrees", "91.8 > 88.2, 88.2 > 7.7")
    bad = judge_claim(claim, dict(zip(names, (91.4, 72.8, 82.7), strict=True)))
    assert bad == Verdict("differs", "91.4 > 72.8, 72.8 ≤ 82.7")
    tie = judge_claim(claim, dict(zip(names, (90.0, 90.0, 1.0), strict=True)))
    assert tie.finding == "differs"
    assert judge_claim(claim, {names[0]: 1.0}).finding == "not run at this scale"
