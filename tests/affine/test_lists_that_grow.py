"""A list that a model goes on changing is recorded as it was when it was used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm


class Dense(nn.Module):
    """As DenseNet has it: every layer sees all that came before, out of one growing list."""

    def __init__(self, *, copies: bool) -> None:
        super().__init__()
        self.copies = copies
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(3 * (i + 1), 3) for i in range(3))
        self.token = nn.Parameter(torch.randn(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = [x]
        for layer in self.layers:
            found.append(torch.relu(layer(torch.cat(list(found) if self.copies else found, 1))))
        before = torch.cat(list(found) if self.copies else found, 1)
        found[1] = self.token.expand_as(x)
        return torch.cat([before, *found], 1)


class Picks(nn.Module):
    """Indices in a list within a tuple."""

    def __init__(self, *, copies: bool) -> None:
        super().__init__()
        self.copies = copies
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        places: list[int] = [0, 2]
        first: Tensor = (self.layer(x) + 1)[:, list(places) if self.copies else places]
        places[1] = 1
        return torch.cat([first * 2, x], 1)


@pytest.mark.parametrize("model", [Dense, Picks])
@pytest.mark.parametrize("target", [0, 1, 4])
def test_it_is_as_it_was(model: type[Dense | Picks], target: int) -> None:
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).double()
    torch.manual_seed(0)
    network = model(copies=False).double().eval()
    twin = model(copies=True).double().eval()
    twin.load_state_dict(network.state_dict())
    assert bm.local_affine(network, x, target).certificate.passed
    found = bm.BiasBackprop(network, "proportional").explain(x, target)
    wanted = bm.BiasBackprop(twin, "proportional").explain(x, target)
    assert found.complete
    torch.testing.assert_close(found.map, wanted.map)
