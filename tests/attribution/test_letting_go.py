"""The walk lets go of what it has passed, unless the recording is asked for."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError
from biasmatters.affine.mixing import Mixing
from biasmatters.attribution import BiasBackprop
from biasmatters.attribution.landing import landings
from biasmatters.kernels import without_kernels
from biasmatters.rules import Uniform


@dataclass(frozen=True)
class Watching(Uniform):
    """A rule that notes at each layer how many of the network's activations are still held."""

    held: list[weakref.ref[Tensor]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        self.counts.append(sum(ref() is not None for ref in self.held))
        return super().split(mixing, x, tau, scale)


def watched() -> tuple[BiasBackprop, Watching]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    rule = Watching()
    for layer in network:
        layer.register_forward_hook(lambda _, __, out: rule.held.append(weakref.ref(out)))
    return BiasBackprop(network.double().eval(), rule), rule


@pytest.mark.parametrize("certified", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_activations_go_as_the_walk_comes_down(certified: bool, fast: bool) -> None:
    if fast:
        pytest.importorskip("numba")
    method, rule = watched()
    x = torch.randn(2, 2, 4, 4).double()
    with nullcontext() if fast else without_kernels():
        found = method.certified((x,), 0) if certified else method.propagate((x,), 0)
    assert len(rule.held) == 7
    # Each layer's split sees what lies below it, and what it is folded with: of a chain its end.
    # The flattened view keeps autograd's graph until it is passed, and with it what the norm had.
    assert rule.counts == ([5, 2, 1] if fast else [7, 5, 3])
    assert all(ref() is None for ref in rule.held)
    assert float(found.delta.abs().max()) < 1e-9


def test_a_kept_recording_can_be_walked_again() -> None:
    method, rule = watched()
    x = torch.randn(1, 2, 4, 4).double()
    kept = method.certified((x,), 0, keep=True)
    assert rule.counts == [7, 7, 7]
    assert kept.recording is not None
    parts = list(landings(method, kept, 3))
    torch.testing.assert_close(torch.stack([p.map for p in parts]).sum(0), kept.walk.maps[0])


def test_what_needs_the_recording_says_so() -> None:
    method, _ = watched()
    found = method.certified((torch.randn(1, 2, 4, 4).double(),), 0)
    assert found.recording is None
    with pytest.raises(InputError, match="keep=True"):
        list(landings(method, found))


def test_a_certificate_can_be_used_in_training_afterwards() -> None:
    method, _ = watched()
    with torch.inference_mode():
        found = method.explain(torch.randn(1, 2, 4, 4).double(), 0)
    for value in vars(found.certificate).values():
        assert not (isinstance(value, Tensor) and value.is_inference())
