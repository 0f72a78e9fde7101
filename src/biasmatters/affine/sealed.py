"""Data classes of which a call makes hundreds.

Python's own frozen ones set each attribute by a function call, which takes five times as long. Here
mypy refuses that an attribute is set, and nothing does while the program runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def sealed(made: type[Class]) -> type[Class]:
    """A data class that is not to be changed; two are equal if they are the same object."""
    return dataclass(eq=False)(made)
