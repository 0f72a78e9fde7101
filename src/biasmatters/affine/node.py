"""One recorded operation on the tape."""

from __future__ import annotations

from biasmatters.affine.call import Call
from biasmatters.affine.sealed import sealed


@sealed
class Node:
    """One recorded operation: its call and where its samples lie."""

    call: Call
    axis: int
