"""Patterns, PatternNet and PatternAttribution against loops over units, samples and places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.affine.errors import TrainingModeError
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.pattern_attribution import PatternAttribution
from biasmatters.baselines.pattern_net import PatternNet
from biasmatters.baselines.patterns import Patterns, fit_patterns
from biasmatters.types import Fittable
from tests.affine.nets import seeded


class Small(nn.Module):
    """A grouped, strided, dilated and padded convolution, batch-norm, ReLU, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.hidden = nn.Linear(54, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.conv(x)))
        return self.head(F.relu(self.hidden(h.flatten(1))))


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    net = Small()
    seeded(net)
    # Every unit is active somewhere.
    net.hidden.weight.data.mul_(0.2)
    net.norm.weight.data = torch.tensor([0.7, -0.9, 0.5, 1.2, -0.4, 0.8]).double()
    return net


@pytest.fixture
def data() -> Tensor:
    return torch.randn(20, 4, 7, 7, generator=torch.Generator().manual_seed(1)).double()


def _patches(x: np.ndarray, group: int) -> np.ndarray:
    """``(places, 2 * 3 * 3)`` what each place of one group's convolution sees."""
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))[2 * group : 2 * group + 2]
    return np.array(
        [
            [
                wide[c, 2 * i + 2 * u, 2 * j + 2 * v]
                for c in range(2)
                for u in range(3)
                for v in range(3)
            ]
            for i in range(3)
            for j in range(3)
        ]
    )  # fmt: skip


def _estimate(w: np.ndarray, x: np.ndarray, positive: np.ndarray | None) -> np.ndarray:
    """One unit's pattern from rows ``(places, inputs)``, sum by sum."""
    y = [float(row @ w) for row in x]
    mean = sum(y) / len(y)
    if positive is None:
        middle = sum(x) / len(x)
        covariance = sum((row - middle) * (v - mean) for row, v in zip(x, y, strict=True)) / len(y)
        return covariance / (sum((v - mean) ** 2 for v in y) / len(y))
    chosen = [i for i in range(len(y)) if positive[i]]
    xy = sum(x[i] * y[i] for i in chosen) / len(chosen)
    top = xy - sum(x[i] for i in chosen) / len(chosen) * mean
    return top / (w @ top)


def _wanted(net: Small, data: Tensor) -> dict[str, np.ndarray]:
    x = data.numpy()
    weight, bias = net.conv.weight.detach().numpy(), net.conv.bias.detach().numpy()
    slope = (net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()).detach().numpy()
    shift = net.norm.bias.detach().numpy() - net.norm.running_mean.numpy() * slope
    conv = np.zeros_like(weight)
    hidden_input = np.zeros((len(x), 6, 9))
    for o in range(6):
        rows = np.concatenate([_patches(sample, o // 3) for sample in x])
        flat = weight[o].reshape(-1)
        after = (rows @ flat + bias[o]) * slope[o] + shift[o]
        conv[o] = _estimate(flat, rows, after > 0).reshape(2, 3, 3)
        hidden_input[:, o] = np.maximum(after, 0).reshape(len(x), 9)
    flat_input = hidden_input.reshape(len(x), -1)
    matrix, offset = net.hidden.weight.detach().numpy(), net.hidden.bias.detach().numpy()
    z = flat_input @ matrix.T + offset
    hidden = np.stack([_estimate(matrix[o], flat_input, z[:, o] > 0) for o in range(5)])
    last = np.maximum(z, 0)
    head = [_estimate(row, last, None) for row in net.head.weight.detach().numpy()]
    return {"conv": conv, "hidden": hidden, "head": np.stack(head)}


def test_fitting_equals_loops_over_all_places(net: Small, data: Tensor) -> None:
    found = fit_patterns(net, [data[:7], data[7:12], data[12:]])
    wanted = _wanted(net, data)
    assert found.patterns.keys() == wanted.keys()
    for label, pattern in wanted.items():
        np.testing.assert_allclose(found.patterns[label].numpy(), pattern, rtol=1e-8, atol=1e-10)
    assert found.degenerate == {"conv": 0, "hidden": 0, "head": 0}


def test_patterns_see_the_unit_of_their_weight(net: Small, data: Tensor) -> None:
    """``w . a = 1``, and the batches make no difference."""
    whole, parts = fit_patterns(net, [data]), fit_patterns(net, data.split(3))
    for label, pattern in whole.patterns.items():
        weight = net.get_submodule(label).weight
        ones = (weight * pattern).flatten(1).sum(1)
        torch.testing.assert_close(ones, torch.ones_like(ones))
        torch.testing.assert_close(pattern, parts.patterns[label])


def _backward(
    net: Small, x: np.ndarray, target: int, w: dict[str, np.ndarray], s: np.ndarray
) -> np.ndarray:
    """From the output's value to one input, with weights w and a factor s at the batch-norm."""
    with torch.no_grad():
        z = net.norm(net.conv(torch.as_tensor(x)[None]))
        hidden = net.hidden(F.relu(z).flatten(1))
        value = float(net.head(F.relu(hidden))[0, target])
    signal = value * w["head"][target] * (hidden[0].numpy() > 0)
    back = (signal @ w["hidden"]).reshape(6, 3, 3) * (z[0].numpy() > 0)
    wide = np.zeros((4, 9, 9))
    for o in range(6):
        for i in range(3):
            for j in range(3):
                for c in range(2):
                    for u in range(3):
                        for v in range(3):
                            wide[2 * (o // 3) + c, 2 * i + 2 * u, 2 * j + 2 * v] += (
                                back[o, i, j] * s[o] * w["conv"][o, c, u, v]
                            )
    return wide[:, 1:8, 1:8]


def test_both_methods_equal_loops(net: Small, data: Tensor) -> None:
    a = _wanted(net, data)
    w = {label: net.get_submodule(label).weight.detach().numpy() for label in a}
    slope = (net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()).detach().numpy()
    signal = PatternNet(net).fit(data.split(8)).explain(data[:2], 1)
    share = PatternAttribution(net).fit(data.split(8)).explain(data[:2], 1)
    product = {label: a[label] * w[label] for label in a}
    for i in range(2):
        x = data[i].numpy()
        np.testing.assert_allclose(
            signal.map[i].numpy(), _backward(net, x, 1, a, 1 / slope), rtol=1e-7, atol=1e-9
        )
        np.testing.assert_allclose(
            share.map[i].numpy(), _backward(net, x, 1, product, np.ones(6)), rtol=1e-7, atol=1e-9
        )
    assert signal.complete is None
    assert signal.target.tolist() == [1, 1]


def test_a_folded_batch_norm_has_the_same_maps(net: Small, data: Tensor) -> None:
    folded = Small()
    folded.load_state_dict(net.state_dict())
    folded = folded.double().eval()
    fused = nn.utils.fusion.fuse_conv_bn_eval(net.conv, net.norm)
    folded.conv, folded.norm = fused, nn.Identity()
    for method in (PatternNet, PatternAttribution):
        found, wanted = (
            method(one).fit(data.split(8)).explain(data[:3], 0).map for one in (net, folded)
        )
        torch.testing.assert_close(found, wanted)


def test_a_reused_layer_has_a_pattern_for_each_call(data: Tensor) -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(F.relu(self.lin(x)))

    net = seeded(Reused())
    method = PatternNet(net).fit([data[:, :, 0, 0]])
    assert list(method.patterns.patterns) == ["lin", "lin#2"]
    assert not torch.allclose(*method.patterns.patterns.values())
    method.explain(data[:2, :, 0, 0], 0)


def test_a_transformer_like_linear_layer_counts_every_token() -> None:
    rows = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(2)).double()
    torch.manual_seed(3)
    deep = seeded(nn.Sequential(nn.Linear(3, 2), nn.Flatten()))
    found = fit_patterns(deep, rows.split(2)).patterns["0"]
    flat = rows.reshape(-1, 3).numpy()
    wanted = [_estimate(w, flat, None) for w in deep[0].weight.detach().numpy()]
    np.testing.assert_allclose(found.numpy(), np.stack(wanted), rtol=1e-9)


def test_degenerate_units_have_no_pattern() -> None:
    net = seeded(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)))
    with torch.no_grad():
        net[0].bias[0] = -1e6
        net[0].weight[1] = 0
        net[0].bias[1] = 1
        net[2].weight[1] = torch.tensor([1.0, 1.0, 0.0])
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(2)).double()
    found = fit_patterns(net, [rows])
    assert found.degenerate == {"0": 2, "2": 1}
    assert found.patterns["0"][:2].abs().sum() == 0
    assert found.patterns["2"][1].abs().sum() == 0
    assert bool(found.patterns["2"][0].isfinite().all())
    assert bool(PatternNet(net, found).explain(rows, 0).map.isfinite().all())


def test_the_signal_is_told_from_the_distractor() -> None:
    """The paper's toy: x = y (1, 0) + e (1, 1), of which w = (1, -1) reads y."""
    generator = torch.Generator().manual_seed(4)
    y, e = torch.randn(2, 4000, 1, generator=generator).double()
    x = torch.cat([y + e, e], 1)
    net = nn.Linear(2, 1, bias=False).double().eval()
    net.weight.data = torch.tensor([[1.0, -1.0]]).double()
    pattern = fit_patterns(net, x.split(500)).patterns["linear"]
    torch.testing.assert_close(pattern, torch.tensor([[1.0, 0.0]]).double(), rtol=0, atol=0.05)
    method = PatternNet(net).fit(x.split(500))
    torch.testing.assert_close(method.explain(x[:9]).map, y[:9] * pattern)


def test_a_signal_out_of_range_is_refused(net: Small, data: Tensor) -> None:
    patterns = fit_patterns(net, [data])
    wide = {label: pattern.float() * 1e20 for label, pattern in patterns.patterns.items()}
    method = PatternNet(net.float(), Patterns(wide, patterns.degenerate))
    with pytest.raises(MethodError, match=r"grows beyond torch.float32; fit to more inputs"):
        method.explain(data.float(), 0)


def test_state_and_back(net: Small, data: Tensor) -> None:
    patterns = fit_patterns(net, [data])
    state = patterns.state()
    assert all(isinstance(value, Tensor) for value in state.values())
    again = Patterns.from_state(state)
    assert again.degenerate == patterns.degenerate
    wanted = PatternNet(net, patterns).explain(data[:2], 0).map
    torch.testing.assert_close(PatternNet(net, again).explain(data[:2], 0).map, wanted)


def test_the_model_and_the_random_numbers_are_as_before(net: Small, data: Tensor) -> None:
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.random.get_rng_state()
    PatternNet(net).fit([data])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    with torch.inference_mode():
        inside = fit_patterns(net, [data.clone()])
    torch.testing.assert_close(inside.patterns, fit_patterns(net, [data]).patterns)


@pytest.mark.parametrize("method", [PatternNet, PatternAttribution])
def test_what_does_not_fit_is_refused(method: type, net: Small, data: Tensor) -> None:
    assert isinstance(method(net), Fittable)
    with pytest.raises(MethodError, match=rf"{method.__name__} has no patterns yet; call .fit"):
        method(net).explain(data)
    with pytest.raises(MethodError, match="not a dict"):
        method(net, {})
    with pytest.raises(MethodError, match="at least one batch"):
        method(net).fit([])
    with pytest.raises(MethodError, match=r"not to a tuple; give.*for x, _ in loader"):
        method(net).fit([(data, 0)])
    with pytest.raises(TrainingModeError):
        method(net.train()).fit([data])
    other = seeded(nn.Sequential(nn.Flatten(), nn.Linear(4 * 49, 3)))
    with pytest.raises(MethodError, match=r"no pattern for linear in '1'.*fit this very model"):
        method(other, fit_patterns(net.eval(), [data])).explain(data)
    up = seeded(nn.Sequential(nn.ConvTranspose2d(4, 2, 3), nn.Flatten(), nn.Linear(162, 3)))
    with pytest.raises(MethodError, match=r"conv_transpose2d' in '0'"):
        method(up).fit([data]).explain(data)
