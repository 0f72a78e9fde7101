"""A verdict on one of our numbers: arithmetic, shown."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from biasmatters.paper.published import PublishedNumber

Finding = Literal[
    "reproduced",
    "better",
    "differs",
    "order agrees",
    "not run at this scale",
    "no published number",
]


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        finding: One of six.
        arithmetic: The comparison, written out.
    """

    finding: Finding
    arithmetic: str


def judge(ours: float | None, published: PublishedNumber | None) -> Verdict:
    """Compare one number with what was published.

    With d the signed distance of ours to the published number (to the nearest end, if a range
    was published, and 0 inside): ``reproduced`` if abs(d) <= tolerance, ``better`` if d lies
    beyond it on the better side, else ``differs``. Interval or not, our point value decides.

    Args:
        ours: In the published number's unit, or None if it was not run.
        published: None if there is none.

    Returns:
        The finding and the arithmetic behind it.
    """
    if published is None:
        return Verdict("no published number", "" if ours is None else f"ours {ours:.4g}")
    if ours is None:
        return Verdict("not run at this scale", f"published {_published(published)}")
    distance = _distance(ours, published)
    within = abs(distance) <= published.tolerance + 1e-9
    text = (
        f"{_number(ours, published)} − {_bracketed(published)} = {_signed(distance, published)}; "
        f"|{_signed(distance, published)}| {'≤' if within else '>'} {published.tolerance:g}"
    )
    if within:
        return Verdict("reproduced", text)
    ahead = {"higher": distance > 0, "lower": distance < 0, None: False}[published.better]
    return Verdict("better" if ahead else "differs", text)


def combine(verdicts: Sequence[Verdict], order: Verdict | None = None) -> Verdict:
    """One verdict for several numbers that belong together.

    ``reproduced`` if every one is; ``better`` if every one is reproduced or better; otherwise
    the order's verdict if that agrees, else ``differs``. Numbers without a published value or
    not run do not count, and if none counts that is the verdict.

    Args:
        verdicts: Of the single numbers.
        order: Of the order among them.

    Returns:
        The joint verdict, its arithmetic a tally.
    """
    counted = [v.finding for v in verdicts if v.finding in ("reproduced", "better", "differs")]
    if not counted:
        missing = [v.finding for v in verdicts]
        run = "not run at this scale" in missing
        return Verdict("not run at this scale" if run else "no published number", "")
    near = sum(f != "differs" for f in counted)
    tally = f"{near} of {len(counted)} within tolerance or better"
    if len(counted) < len(verdicts):
        tally += f", {len(verdicts) - len(counted)} not compared"
    if near == len(counted) == len(verdicts):
        return Verdict("better" if "better" in counted else "reproduced", tally)
    if order is not None and order.finding == "order agrees":
        return Verdict("order agrees", f"{tally}; {order.arithmetic}")
    if near == len(counted):
        return Verdict("better" if "better" in counted else "reproduced", tally)
    return Verdict("differs", tally if order is None else f"{tally}; {order.arithmetic}")


def _distance(ours: float, published: PublishedNumber) -> float:
    """Signed distance of ours to the published number or range."""
    if ours < published.low:
        return ours - published.low
    return ours - published.high if ours > published.high else 0.0


def _decimals(published: PublishedNumber) -> int:
    return 1 if published.unit in ("%", "points") else 4


def _number(value: float, published: PublishedNumber) -> str:
    return f"{value:.{_decimals(published)}f}".replace("-", "−")


def _signed(value: float, published: PublishedNumber) -> str:
    return f"{value:+.{_decimals(published)}f}".replace("-", "−")


def _bracketed(published: PublishedNumber) -> str:
    text = _published(published)
    return f"({text})" if text.startswith("−") else text


def _published(published: PublishedNumber) -> str:
    if published.low == published.high:
        return _number(published.low, published)
    if published.high == float("inf"):
        return f"[≥ {_number(published.low, published)}]"
    if published.low == float("-inf"):
        return f"[≤ {_number(published.high, published)}]"
    return f"[{_number(published.low, published)}, {_number(published.high, published)}]"
