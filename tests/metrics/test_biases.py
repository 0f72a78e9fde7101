"""Which biases are found in a network, and what takes their place."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from biasmatters.metrics.functional import MetricInputError
from biasmatters.metrics.functional.bias_removal import bias_removal
from biasmatters.metrics.functional.biases import BatchNorm, Replace, bias_replacements


def test_batch_norm_without_its_effective_bias_is_a_pure_scale() -> None:
    norm = nn.BatchNorm1d(2, eps=0.0)
    norm.running_mean, norm.running_var = torch.tensor([3.0, -1.0]), torch.tensor([4.0, 9.0])
    norm.weight.data, norm.bias.data = torch.tensor([2.0, 6.0]), torch.tensor([1.0, 5.0])
    z = torch.tensor([[10.0, 1.0]])  # scales (1, 2); effective biases (1 - 3, 5 + 2)
    assert norm.eval()(z).tolist() == [[8.0, 9.0]]
    wanted: list[tuple[Replace, BatchNorm, list[float]]] = [
        ("zero", "effective", [10.0, 2.0]),
        ("mean", "effective", [12.5, 4.5]),
        ("zero", "parameter", [7.0, 4.0]),
        ("mean", "parameter", [10.0, 7.0]),
    ]
    for replace, batch_norm, expected in wanted:
        found = bias_replacements(norm, z, replace=replace, batch_norm=batch_norm)
        assert list(found) == ["BatchNorm1d"]
        assert functional_call(norm, found["BatchNorm1d"], (z,)).tolist() == [expected]


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_without_beta(affine: bool) -> None:
    z = torch.tensor([[10.0, 1.0], [0.0, 3.0]])
    norm = nn.BatchNorm1d(2, eps=0.0, affine=affine).eval()
    norm.running_mean = torch.tensor([3.0, -1.0])
    if affine:
        norm.bias = None
        norm.weight.data[1] = 0.0  # this unit's effective bias is 0 and stays so
    found = bias_replacements(norm, z, replace="mean")["BatchNorm1d"]
    out = functional_call(norm, found, (z,))
    level = -1.5 if affine else -1.0
    assert out[:, 0].tolist() == [10 + level, level]
    assert out[:, 1].tolist() == ([0, 0] if affine else [1 + level, 3 + level])
    with pytest.raises(MetricInputError, match='batch_norm="parameter"'):
        bias_replacements(norm, z, batch_norm="parameter")


def test_a_normalisation_by_the_batch_has_its_beta_only() -> None:
    norm = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.LayerNorm(2))
    x = torch.rand(2, 2)
    found = bias_replacements(norm, x)
    assert [list(entries) for entries in found.values()] == [["0.bias"], ["1.bias"]]
    assert bias_removal(norm, x, 0).names == ("0", "1")


def encoder() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3)), torch.randn(4, 3, 8)


def test_attention_biases_are_found_where_no_module_is_called() -> None:
    model, x = encoder()
    found = bias_replacements(model, x, replace="mean")
    names = ["self_attn", "self_attn.out_proj", "norm1", "linear1", "linear2", "norm2"]
    assert list(found) == [*(f"0.{name}" for name in names), "2"]
    stacked = model[0].self_attn.in_proj_bias.detach()
    expected = torch.cat([part.mean().expand(8) for part in stacked.split(8)])
    torch.testing.assert_close(found["0.self_attn"]["0.self_attn.in_proj_bias"], expected)
    labels = torch.tensor([0, 1, 2, 0])
    removal = bias_removal(model, x, labels, order="each")
    for v, layer in enumerate(found, 1):
        bare = copy.deepcopy(model).eval()
        module = bare.get_submodule(layer)
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name:
                nn.init.zeros_(parameter)
        with torch.no_grad():
            out = bare(x)
        torch.testing.assert_close(
            removal.confidence[v], out.softmax(1).gather(1, labels[:, None])[:, 0]
        )


class Fixup(nn.Module):
    """Scalar biases beside a convolution without one, as in a Fixup residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.bias1a = nn.Parameter(torch.full((1,), 0.5))
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.bias1b = nn.Parameter(torch.full((1,), 0.25))
        self.bias_free_scale = nn.Parameter(torch.ones(1))
        self.q_bias = nn.Parameter(torch.ones(2))
        self.unbiased = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        out = (self.conv(x + self.bias1a) + self.bias1b) * self.bias_free_scale
        return out.amax((2, 3)) + torch.cat((self.q_bias[:1], self.q_bias[1:])) * self.unbiased


def test_biases_by_other_names() -> None:
    model, x = Fixup(), torch.zeros(2, 1, 3, 3)
    found = bias_replacements(model, x)
    assert list(found) == ["Fixup"]
    assert sorted(found["Fixup"]) == ["bias1a", "bias1b", "q_bias"]
    assert functional_call(model, found["Fixup"], (x,)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: type[nn.LSTM]) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = kind(3, 4, batch_first=True, bidirectional=True)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.core(x)[0][:, -1]
            return out

    model, x = Reader(), torch.randn(2, 5, 3)
    labels = torch.tensor([0, 1])
    removal = bias_removal(model, x, labels, order="all")
    assert removal.names == ("core",)
    for name, parameter in model.core.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
    torch.testing.assert_close(removal.confidence[1], model(x).detach().softmax(1)[[0, 1], [0, 1]])


def test_a_shared_bias_counts_once_and_goes_everywhere() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].bias = model[0].bias
    x = torch.rand(4, 3)
    removal = bias_removal(model, x, 0, order="all")
    assert removal.names == ("0",)
    nn.init.zeros_(model[0].bias)
    torch.testing.assert_close(removal.confidence[1], model(x).detach().softmax(1)[:, 0])


def test_a_frozen_batch_norm_keeps_its_bias_in_a_buffer() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eps = 0.0
            for name, value in (
                ("weight", 2),
                ("bias", 5),
                ("running_mean", 3),
                ("running_var", 4),
            ):
                self.register_buffer(name, torch.full((2,), float(value)))

        def forward(self, x: Tensor) -> Tensor:
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            return x * scale + (self.bias - self.running_mean * scale)

    model, x = Frozen(), torch.ones(1, 2)
    assert model(x).tolist() == [[3, 3]]
    found = bias_replacements(model, x)["Frozen"]
    assert functional_call(model, found, (x,)).tolist() == [[1, 1]]
