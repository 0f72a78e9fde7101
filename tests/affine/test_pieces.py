"""Pieces cover every place of all tensors once, whatever their layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.affine import pieces as module
from biasmatters.affine.pieces import pieces

SHAPE = (2, 3, 5, 7)


def contiguous() -> Tensor:
    return torch.arange(210.0).reshape(SHAPE)


def channels_last() -> Tensor:
    return contiguous().contiguous(memory_format=torch.channels_last)


def broadcast() -> Tensor:
    return torch.arange(70.0).reshape(2, 1, 5, 7).expand(SHAPE)


def sliced() -> Tensor:
    return torch.arange(420.0).reshape(2, 6, 5, 7)[:, 1:4]


LAYOUTS = [contiguous, channels_last, broadcast, sliced]


@pytest.mark.parametrize("one", LAYOUTS)
@pytest.mark.parametrize("other", LAYOUTS)
def test_every_place_is_met_once(monkeypatch: pytest.MonkeyPatch, one, other) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "PIECE", 16)
    a, b = one(), other()
    out = torch.zeros_like(a)
    for x, y, z in pieces(a, b, out):
        z += x * 1000 + y
    assert torch.equal(out, a * 1000 + b)


def test_tensors_that_lie_alike_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 16)
    assert len(list(pieces(channels_last(), channels_last()))) == 14
    assert len(list(pieces(channels_last(), contiguous()))) == 1


def test_a_part_of_a_tensor_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 16)
    whole = contiguous()
    for (part,) in pieces(whole[1:]):
        part.zero_()
    assert torch.equal(whole[0], contiguous()[0])
    assert not bool(whole[1:].any())
