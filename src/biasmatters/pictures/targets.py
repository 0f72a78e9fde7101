"""Which class is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from torch import Tensor

from biasmatters.pictures.errors import PictureRequestError

_RANK = re.compile(r"top([1-9])")


@dataclass(frozen=True)
class ChosenClass:
    """The class to explain: the one in this place of the network's own order, or a fixed one.

    Attributes:
        rank: 0 for the likeliest; None for a fixed class.
        index: Place among all classes; None where a rank is given.
    """

    rank: int | None = None
    index: int | None = None

    def among(self, logits: Tensor) -> int:
        """The class for one picture's logits, ``(classes,)``."""
        if self.rank is None:
            return int(self.index or 0)
        return int(logits.topk(self.rank + 1).indices[self.rank])


def choose_class(text: str, categories: Sequence[str]) -> ChosenClass:
    """Read ``top1`` to ``top9``, a class's place, or its name (upper and lower case are one).

    Raises:
        PictureRequestError: There is no such class, with the nearest names, or several.
    """
    if ranked := _RANK.fullmatch(text.strip().lower()):
        rank = int(ranked.group(1))
        if rank > len(categories):
            raise PictureRequestError(f"target {text}: there are {len(categories)} classes only.")
        return ChosenClass(rank=rank - 1)
    if re.fullmatch(r"-?\d+", text.strip()):
        index = int(text)
        if not 0 <= index < len(categories):
            raise PictureRequestError(
                f"target {index}: classes are numbered 0 to {len(categories) - 1}."
            )
        return ChosenClass(index=index)
    return ChosenClass(index=_named(text, categories))


def _named(text: str, categories: Sequence[str]) -> int:
    names = [name.lower() for name in categories]
    wanted = text.strip().lower()
    places = [place for place, name in enumerate(names) if name == wanted]
    if len(places) == 1:
        return places[0]
    if places:
        numbers = ", ".join(map(str, places))
        raise PictureRequestError(f"target {text!r} is the name of several classes: {numbers}.")
    near = [name for name in names if wanted and wanted in name][:5]
    near += get_close_matches(wanted, names, n=5)
    listed = ", ".join(
        f"{categories[place]} ({place})"
        for word in dict.fromkeys(near)
        for place, name in enumerate(names)
        if name == word
    )
    advice = f"The nearest: {listed}." if near else "Its number will do as well."
    raise PictureRequestError(
        f"target {text!r}: the network has no such class. {advice} Or use top1, top2, ..."
    )
