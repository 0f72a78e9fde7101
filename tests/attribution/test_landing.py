"""Where single layers' bias lands: parts that add up to BBp's map, and a rule whose do not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from biasmatters import BiasBackprop, InputError
from biasmatters.attribution import Landing, landings
from biasmatters.attribution.landing import gap
from biasmatters.attribution.propagation import CertifiedPropagation
from tests.affine.nets import Residual, seeded

LINEAR = ("softmax_neg_abs", "softmax_abs", "uniform", "proportional")


def found(rule: str, parts: int = 3, seed: int = 0) -> tuple[CertifiedPropagation, list[Landing]]:
    torch.manual_seed(seed)
    network = seeded(Residual())
    method = BiasBackprop(network, rule)
    propagation = method.certified((torch.randn(1, 2, 8, 8).double(),), 1, keep=True)
    return propagation, list(landings(method, propagation, parts))


def difference(whole: CertifiedPropagation, parts: list[Landing]) -> float:
    together = torch.stack([part.map for part in parts]).sum(0)
    return float((whole.walk.maps[0] - together).abs().max())


@pytest.mark.parametrize("parts", [1, 2, 3, 50])
@pytest.mark.parametrize("rule", LINEAR)
def test_parts_add_up_to_the_whole_map(rule: str, parts: int) -> None:
    whole, landed = found(rule, parts)
    assert whole.walk.maps[0].abs().sum() > 0.1
    assert difference(whole, landed) < 1e-9
    assert float(gap(whole.walk.maps[0], landed)) < 1e-9


def test_a_rule_that_looks_at_the_bias_does_not_add_up() -> None:
    gaps = []
    for seed in range(3):
        whole, landed = found("softmax_signed", seed=seed)
        gaps.append(float(gap(whole.walk.maps[0], landed)))
        assert gaps[-1] == pytest.approx(by_hand(whole.walk.maps[0], landed))
    assert max(gaps) > 0.01


def by_hand(whole: Tensor, parts: list[Landing]) -> float:
    off = whole - sum(part.map for part in parts)
    return float(off.abs().sum() / whole.abs().sum())


@pytest.mark.parametrize("rule", [*LINEAR, "softmax_signed"])
def test_each_part_sums_to_what_its_layers_put_in(rule: str) -> None:
    whole, landed = found(rule)
    ledger = {row.name: float(row.share) for row in whole.ledger}
    for part in landed:
        assert float(part.injected) == pytest.approx(sum(ledger[name] for name in part.layers))
        assert float(part.map.sum()) == pytest.approx(float(part.injected), abs=1e-9)
    assert sum(float(part.injected) for part in landed) == pytest.approx(float(whole.bias))


@pytest.mark.parametrize(
    ("parts", "lengths"), [(1, [6]), (4, [2, 1, 1, 2]), (6, [1] * 6), (9, [1] * 6)]
)
def test_neighbours_share_a_part_and_none_is_empty(parts: int, lengths: list[int]) -> None:
    whole, landed = found("uniform", parts)
    names = [row.name for row in whole.ledger if float(row.share)]
    assert len(names) == len(set(names)) == 6
    assert [len(part.layers) for part in landed] == lengths
    assert [name for part in landed for name in part.layers] == names


def test_the_last_layers_part_alone_is_what_a_network_without_other_biases_has() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    x = torch.randn(1, 5).double()
    method = BiasBackprop(network, "proportional")
    *_, last = landings(method, method.certified((x,), 2, keep=True), 2)
    assert float(last.injected) == pytest.approx(network[2].bias[2].item())
    hidden = network[1](network[0](x))[0].detach()
    upper = (network[2].weight[2] * hidden).detach().abs()
    lower = (network[0].weight * x).detach().abs()
    expected = (upper / upper.sum()) @ (lower / lower.sum(1, keepdim=True)) * last.injected
    torch.testing.assert_close(last.map[0], expected)


def bare(make: Callable[[], nn.Module]) -> list[Landing]:
    method = BiasBackprop(make())
    return list(landings(method, method.certified((torch.ones(1, 4),), 0, keep=True)))


def test_a_network_without_biases_has_no_parts() -> None:
    assert bare(lambda: nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())) == []


@pytest.mark.parametrize("parts", [0, -1])
def test_less_than_one_part_is_refused(parts: int) -> None:
    with pytest.raises(InputError, match=f"parts={parts}: give 1 or more"):
        found("uniform", parts)
