"""Several methods at once are the methods one by one, for fewer forward passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biasmatters.metrics.functional import MetricInputError, deletion, insertion
from biasmatters.metrics.functional.several import deletion_insertion

SIDE = 12


class Counting(nn.Module):
    """Counts the pictures that it sees."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(600, 4)
        ).double()
        self.batches: list[int] = []

    def forward(self, z: Tensor) -> Tensor:
        self.batches.append(len(z))
        out: Tensor = self.net(z)
        return out


def pictures(n: int = 5) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 2, SIDE, SIDE, generator=generator, dtype=torch.float64)
    maps = torch.randn(3, n, 2, SIDE, SIDE, generator=generator)
    return x, {"channels": maps[0], "flat": maps[1].sum(1).round(), "double": maps[2].double()}


@pytest.mark.parametrize("steps", [1, 2, 7, 32, 144])
@pytest.mark.parametrize("chunk_size", [None, 1, 3, 64])
def test_equals_the_separate_calls(steps: int, chunk_size: int | None) -> None:
    if steps == 144 and chunk_size == 1:
        pytest.skip("slow, and nothing new")
    model, (x, maps) = Counting(), pictures()
    how: dict[str, Any] = {"steps": steps, "chunk_size": chunk_size, "seed": 2}
    found = deletion_insertion(model, x, maps, **how)
    assert list(found) == list(maps)
    for name, some in maps.items():
        for got, metric in zip(found[name], (deletion, insertion), strict=True):
            expected = metric(model, x, some, **how)
            torch.testing.assert_close(got.scores, expected.scores, atol=1e-13, rtol=0)
            torch.testing.assert_close(got.auc, expected.auc, atol=1e-13, rtol=0)
            assert torch.equal(got.fractions, expected.fractions)
            assert torch.equal(got.target, expected.target)


@pytest.mark.parametrize("target", [1, torch.tensor([0, 1, 2, 3, 0])])
def test_equals_the_separate_calls_with_every_setting(target: int | Tensor) -> None:
    model, (x, maps) = Counting(), pictures()
    how: dict[str, Any] = {"steps": 9, "order": "absolute", "score": "logit", "seed": 3}
    grey = x.mean((1, 2, 3), keepdim=True)
    found = deletion_insertion(
        model, x, maps, target, deletion_baseline=grey, insertion_baseline="noise", **how
    )
    for name, some in maps.items():
        falls = deletion(model, x, some, target, baseline=grey, **how)
        rises = insertion(model, x, some, target, baseline="noise", **how)
        torch.testing.assert_close(found[name].deletion.scores, falls.scores, atol=1e-13, rtol=0)
        torch.testing.assert_close(found[name].insertion.scores, rises.scores, atol=1e-13, rtol=0)


def test_what_is_shared_is_scored_once() -> None:
    model, (x, maps) = Counting(), pictures()
    deletion_insertion(model, x, maps, steps=9, chunk_size=7)
    assert sum(model.batches) == 5 * (3 + 2 * 3 * 8)
    assert max(model.batches) <= 7


def test_the_model_comes_back_as_it_was() -> None:
    model, (x, maps) = Counting().train(), pictures()
    state = torch.get_rng_state()
    first = deletion_insertion(model, x, maps, steps=3)
    assert all(module.training for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())
    again = deletion_insertion(model.eval(), x, maps, steps=3)
    assert torch.equal(first["flat"].deletion.scores, again["flat"].deletion.scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": {}}, "there are no maps"),
        ({"maps": {"bbp": torch.rand(5, 9, 9)}}, "bbp: maps have the shape"),
        ({"maps": {"ig": torch.full((5, 12, 12), torch.nan)}}, "ig: 5 of 5 maps hold NaN"),
        ({"steps": 145}, "steps=145"),
        ({"insertion_baseline": "grey"}, "baseline='grey'"),
        ({"deletion_baseline": torch.zeros(5)}, "does not broadcast"),
        ({"order": "up"}, "order='up'"),
        ({"x": torch.rand(5, 12, 12)}, "x has the shape"),
        ({"chunk_size": 0}, "chunk_size=0"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    x, maps = pictures()
    call: dict[str, Any] = {"model": Counting(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        deletion_insertion(**call)
