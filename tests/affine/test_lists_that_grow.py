"""A list that a model goes on changing is recorded as it was when it was used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm


class Dense(nn.Module):
    """As DenseNet has it: every layer sees all that came before, out of one growing list."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(3 * (i + 1), 3) for i in range(3))
        self.token = nn.Parameter(torch.randn(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = [x]
        for layer in self.layers:
            found.append(torch.relu(layer(torch.cat(found, 1))))
        found[1] = self.token.expand_as(x)
        return torch.cat(found, 1)


class Picks(nn.Module):
    """Indices in a list within a tuple."""

    def forward(self, x: Tensor) -> Tensor:
        places: list[int] = [0, 2]
        first: Tensor = x[:, places]
        places[1] = 1
        options: dict[str, Any] = {"min": 0.5}
        low = torch.clamp(x, **options)
        options["min"] = -9.0
        return torch.cat([first * 2 + 1, low], 1)


@pytest.mark.parametrize("model", [Dense, Picks])
@pytest.mark.parametrize("target", [0, 1, 4])
def test_it_is_as_it_was(model: type[nn.Module], target: int) -> None:
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).double()
    network = model().double().eval()
    form = bm.local_affine(network, x, target)
    assert form.certificate.passed
    torch.testing.assert_close(form.ledger.total(), form.bias)
    assert bm.BiasBackprop(network, "proportional").explain(x, target).complete
