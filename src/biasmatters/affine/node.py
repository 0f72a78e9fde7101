"""One recorded operation on the tape."""

from __future__ import annotations

from dataclasses import dataclass

from biasmatters.affine.call import Call


@dataclass(frozen=True)
class Node:
    """One recorded operation: its call and where its samples lie."""

    call: Call
    axis: int
