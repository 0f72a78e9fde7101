"""The published numbers against the arithmetic that must hold between them."""

from __future__ import annotations

from typing import Any

import pytest

from biasmatters.paper import PaperDataError, load_deviations, load_published
from biasmatters.paper.published import parse_published

TABLE1 = {
    "cifar10": (87.0, 90.9, 71.5, 62.2),
    "cifar100": (62.8, 66.8, 40.3, 36.5),
    "fashion_mnist": (94.1, 94.7, 76.1, 24.6),
}


@pytest.mark.parametrize("data", TABLE1)
def test_table_1_as_printed(data: str) -> None:
    book = load_published()
    found = [
        book.find("accuracy_all", data, bias=False),
        book.find("accuracy_all", data, bias=True),
        book.find("accuracy_weight", data, bias=True),
        book.find("accuracy_bias", data, bias=True),
    ]
    assert tuple(n.value for n in found if n) == TABLE1[data]
    assert {n.provenance for n in found if n} == {"read"}


@pytest.mark.parametrize("data", TABLE1)
def test_gaps_follow_from_the_table(data: str) -> None:
    gap = load_published().find("accuracy_gap", data)
    assert gap is not None
    assert gap.provenance == "derived"
    assert gap.value == pytest.approx(TABLE1[data][0] - TABLE1[data][1])


def test_every_claim_holds_for_the_published_numbers_themselves() -> None:
    book = load_published()
    assert len(book.orders) == 6
    for _, ids in book.orders.values():
        values = [book.numbers[i].value for i in ids]
        assert values == sorted(values, reverse=True)


def test_every_number_says_where_it_stands_and_what_is_near() -> None:
    for number in load_published().numbers.values():
        assert number.place
        assert number.tolerance_why
        assert number.low <= number.high
        assert (number.tolerance > 0) == (number.kind == "result" and "float64" not in number.id)


def test_road_weights_sum_to_one() -> None:
    numbers = load_published().numbers
    total = 4 * numbers["road.direct"].value + 4 * numbers["road.diagonal"].value
    assert total == pytest.approx(1)


def test_open_ranges() -> None:
    csc = load_published().numbers["sixt.csc.vgg16"]
    assert (csc.low, csc.high, csc.value) == (0.99, float("inf"), 0.99)
    assert load_published().numbers["sixt.ssim.others"].value == pytest.approx(0.6)


def raw(**change: Any) -> dict[str, Any]:
    entry = {
        "id": "a", "source": "s", "place": "p", "metric": "m", "value": 1, "unit": "",
        "provenance": "read", "tolerance": "t",
    }  # fmt: skip
    entry.update(change)
    kept = {k: v for k, v in entry.items() if v is not None}
    return {
        "sources": {"s": {"cite": "c", "url": ""}},
        "tolerances": {"t": {"value": 1, "why": "w"}},
        "numbers": [kept],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provenance": "guessed"}, "provenance must be one of"),
        ({"value": None}, "give a value"),
        ({"tolerance": "large"}, "tolerance must be one of"),
        ({"source": "nobody"}, "is not listed"),
        ({"metirc": "m"}, "metirc"),
        ({"place": None}, "place"),
    ],
)
def test_a_bad_entry_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PaperDataError, match=message):
        parse_published(raw(**change))


def test_twice_and_unknown_claims_are_refused() -> None:
    twice = raw()
    twice["numbers"] *= 2
    with pytest.raises(PaperDataError, match="a is there twice"):
        parse_published(twice)
    claim = raw() | {"claims": [{"id": "c", "text": "t", "order": ["a", "b"]}]}
    with pytest.raises(PaperDataError, match="unknown numbers"):
        parse_published(claim)


def test_assumptions_are_complete() -> None:
    found = load_deviations()
    assert len({d.id for d in found}) == len(found)
    assert {d.kind for d in found} == {"assumption", "deviation"}
    assert {"rule", "temperature", "origin", "networks", "recipe"} <= {d.id for d in found}
    assert all(d.topic and d.paper and d.ours for d in found)
