"""What is known of a pretrained network without its weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from biasmatters.models.zoo.preprocessing import Preprocessing


@dataclass(frozen=True)
class Card:
    """A pretrained network's papers.

    Attributes:
        name: In the zoo.
        preprocessing: That it was evaluated with by those who trained it.
        categories: Names of the classes in the order of the logits.
        origin: Whose weights, and which set of theirs.
        note: What else one should know, or nothing.
    """

    name: str
    preprocessing: Preprocessing
    categories: tuple[str, ...] = field(repr=False)
    origin: str
    note: str = ""
