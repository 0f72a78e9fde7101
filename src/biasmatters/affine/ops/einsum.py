"""`torch.einsum` by permutes, sums and matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.registry import decomposes


@dataclass(frozen=True)
class _Term:
    """A tensor with one letter for each of its axes."""

    letters: str
    tensor: Tensor

    def keep(self, wanted: str) -> _Term:
        """Sum over the axes whose letters are not wanted."""
        lone = [n for n, c in enumerate(self.letters) if c not in wanted]
        if not lone:
            return self
        return _Term("".join(c for c in self.letters if c in wanted), self.tensor.sum(lone))

    def order(self, letters: Sequence[str]) -> Tensor:
        """The tensor with its axes in another order."""
        places = [self.letters.index(c) for c in letters]
        return self.tensor if places == sorted(places) else self.tensor.permute(places)

    def size(self, letters: Sequence[str]) -> list[int]:
        """The sizes of some axes."""
        return [self.tensor.shape[self.letters.index(c)] for c in letters]


@decomposes("einsum")
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Operands contracted pair by pair, from the left.

    Implicit outputs, ``...``, repeated letters and sizes of 1 are written out before.
    """
    tensors = list(operands[0]) if isinstance(operands[0], (list, tuple)) else list(operands)
    if not isinstance(equation, str):
        raise _refused(equation, "write its equation as a string")
    terms, out = _canonical(equation.replace(" ", ""), tensors)
    first, *rest = _broadcast([_diagonal(term) for term in terms])
    for i, second in enumerate(rest):
        later = out + "".join(term.letters for term in rest[i + 1 :])
        first = _contract(first.keep(later + second.letters), second.keep(later + first.letters),
                          later)  # fmt: skip
    return first.keep(out).order(out)


def _refused(equation: Any, reason: str) -> UnsupportedOperationError:
    return UnsupportedOperationError(
        "", "einsum", f"'{equation}': {reason}", "Write it as a matrix product or a simpler einsum."
    )


def _canonical(equation: str, tensors: list[Tensor]) -> tuple[list[_Term], str]:
    """Terms without ``...`` and an explicit output."""
    left, arrow, out = equation.partition("->")
    names = left.split(",")
    if len(names) != len(tensors):
        raise _refused(equation, f"it names {len(names)} operands and has {len(tensors)}")
    free = [c for c in string.ascii_letters if c not in equation]
    extra = [t.ndim - len(n.replace("...", "")) for n, t in zip(names, tensors, strict=True)]
    widest = max((e for n, e in zip(names, extra, strict=True) if "..." in n), default=0)
    dots = "".join(free[:widest])
    letters = [
        n.replace("...", dots[widest - e :]) if "..." in n else n
        for n, e in zip(names, extra, strict=True)
    ]
    if not arrow:
        once = sorted(c for c in set("".join(names)) - {"."} if left.count(c) == 1)
        out = "..." + "".join(once)
    out = out.replace("...", dots)
    if len(set(out)) < len(out) or set(out) - set("".join(letters)):
        raise _refused(equation, "each letter of its output must occur once there and in an input")
    return [_Term(n, t) for n, t in zip(letters, tensors, strict=True)], out


def _diagonal(term: _Term) -> _Term:
    """A letter that a term has twice is a diagonal."""
    for c in term.letters:
        first, last = term.letters.index(c), term.letters.rindex(c)
        if first != last:
            rest = "".join(term.letters[:first] + term.letters[first + 1 : last])
            rest += term.letters[last + 1 :] + c
            return _diagonal(_Term(rest, torch.diagonal(term.tensor, 0, first, last)))
    return term


def _broadcast(terms: list[_Term]) -> list[_Term]:
    """Every axis in its full size."""
    sizes: dict[str, int] = {}
    for term in terms:
        for c, size in zip(term.letters, term.tensor.shape, strict=True):
            sizes[c] = size if sizes.get(c, 1) == 1 else sizes[c]
    full = [[sizes[c] for c in term.letters] for term in terms]
    return [
        term if list(term.tensor.shape) == shape else _Term(term.letters, term.tensor.expand(shape))
        for term, shape in zip(terms, full, strict=True)
    ]


def _contract(a: _Term, b: _Term, later: str) -> _Term:
    """One matrix product; its axes in the order of ``later`` where it gives them so."""
    wanted = [c for c in dict.fromkeys(later) if c in a.letters + b.letters]
    for left, right in ((a, b), (b, a)):
        plain = _without_reshape(left, right, wanted)
        if plain is not None:
            return _Term("".join(wanted), plain)
    batch = [c for c in wanted if c in a.letters and c in b.letters]
    inner = [c for c in a.letters if c in b.letters and c not in wanted]
    rows = [c for c in a.letters if c not in b.letters]
    columns = [c for c in b.letters if c not in a.letters]
    product = torch.matmul(_matrix(a, batch, rows, inner), _matrix(b, batch, inner, columns))
    shape = [*a.size(batch), *a.size(rows), *b.size(columns)]
    return _Term("".join([*batch, *rows, *columns]), product.reshape(shape))


def _matrix(term: _Term, lead: list[str], rows: list[str], columns: list[str]) -> Tensor:
    """A batch of matrices, its groups of axes made one; leading axes that it lacks are 1."""
    held = [c for c in lead if c in term.letters]
    sizes = [term.size([c])[0] if c in held else 1 for c in lead]
    # Those in front of its own are left to broadcasting.
    sizes = sizes[lead.index(held[0]) :] if held else []
    shape = [*sizes, prod(term.size(rows)), prod(term.size(columns))]
    matrix = term.order([*held, *rows, *columns])
    return matrix if list(matrix.shape) == shape else matrix.reshape(shape)


def _without_reshape(a: _Term, b: _Term, wanted: list[str]) -> Tensor | None:
    """``a @ b`` if it gives the wanted axes at once, so that slopes after it can be folded."""
    if len(wanted) < 2:
        return None
    *lead, row, column = wanted
    inner = [c for c in a.letters if c in b.letters and c not in wanted]
    fits = row in a.letters and row not in b.letters
    fits = fits and column in b.letters and column not in a.letters
    if not fits or not inner:
        return None
    return torch.matmul(_matrix(a, lead, [row], inner), _matrix(b, lead, inner, [column]))
