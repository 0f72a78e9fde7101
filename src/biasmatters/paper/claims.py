"""What the paper says in words, held against our numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from biasmatters.paper.published import Published, PublishedNumber, load_published
from biasmatters.paper.verdict import Verdict


@dataclass(frozen=True)
class Claim:
    """An order among published numbers.

    Attributes:
        id: Unique name.
        text: The claim in words.
        numbers: The numbers, largest first.
    """

    id: str
    text: str
    numbers: tuple[PublishedNumber, ...]


def load_claims(prefix: str = "", published: Published | None = None) -> tuple[Claim, ...]:
    """The claims whose id starts with a prefix, e.g. ``table1.fashion_mnist.``."""
    book = load_published() if published is None else published
    return tuple(
        Claim(name, text, tuple(book.numbers[i] for i in ids))
        for name, (text, ids) in book.orders.items()
        if name.startswith(prefix)
    )


def judge_claim(claim: Claim, ours: Mapping[str, float]) -> Verdict:
    """Whether our numbers stand in the published order, every neighbour strictly above the next.

    Args:
        claim: The order.
        ours: Our numbers by the id of the published number they compare with.

    Returns:
        ``order agrees``, ``differs``, or ``not run at this scale`` if a number is missing.
    """
    if missing := [n.id for n in claim.numbers if n.id not in ours]:
        return Verdict("not run at this scale", f"not run: {', '.join(missing)}")
    values = [ours[n.id] for n in claim.numbers]
    steps = [f"{a:.1f} {'>' if a > b else '≤'} {b:.1f}" for a, b in pairwise(values)]
    agrees = all(a > b for a, b in pairwise(values))
    return Verdict(
        "order agrees" if agrees else "differs",
        ", ".join(steps),
    )
