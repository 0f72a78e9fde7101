"""What a trained network wants done to its pictures, told in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from biasmatters.data.errors import InvalidDataOptionError

Items = tuple[tuple[str, Any], ...]

KEYS: Final = ("resize", "crop", "interpolation", "mean", "std")


def items_of(preprocessing: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> Items | None:
    """A mapping as pairs that can be hashed, in one order; pairs are taken as well.

    Raises:
        InvalidDataOptionError: If a key is none of ``KEYS``.
    """
    if preprocessing is None:
        return None
    given = dict(preprocessing)
    unknown = sorted(set(given) - set(KEYS))
    if unknown:
        raise InvalidDataOptionError(
            f"preprocessing has no {', '.join(unknown)}; it takes {', '.join(KEYS)}."
        )
    return tuple((key, _frozen(given[key])) for key in KEYS if key in given)


def _frozen(value: Any) -> Any:
    return value if isinstance(value, str) or not isinstance(value, Sequence) else tuple(value)


def sides(option: str, value: int | Sequence[int]) -> tuple[int, int]:
    """Height and width from both, or from one number for both.

    Raises:
        InvalidDataOptionError: If it is neither; ``option`` names it.
    """
    given = (value, value) if isinstance(value, int) else tuple(value)
    if len(given) != 2 or min(given) < 1:
        raise InvalidDataOptionError(f"{option}={value}: give one number, or height and width.")
    return given[0], given[1]
