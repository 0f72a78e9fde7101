"""What mixes the samples of a batch is refused; what keeps them apart is followed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.form import Form, Split
from biasmatters.affine.registry import register_op
from tests.affine.nets import seeded

torch.manual_seed(0)
LINEAR = seeded(nn.Linear(4, 4))
LAYER = seeded(nn.TransformerEncoderLayer(4, 2, 8))
NORM = seeded(nn.LayerNorm([3, 4]))
MATRICES = torch.randn(2, 4, 3, dtype=torch.float64)
MIXING: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: F.softmax(LINEAR(x), 0)[:, 0],
    "log_softmax": lambda x: LINEAR(x).log_softmax(-3)[:, 0],
    "sort": lambda x: LINEAR(x).sort(0).values[:, 0],
    "topk": lambda x: LINEAR(x).topk(3, dim=0).values[:, 0],
    "msort": lambda x: LINEAR(x).msort()[:, 0],
    "gram": lambda x: LINEAR(x).flatten(1) @ LINEAR(x).flatten(1).T,
    "attention_over_the_batch": lambda x: LAYER(x)[:, 0],
    "pairs": lambda x: (x[:, None] - x[None]).sum(1)[:, 0],
    "columns": lambda x: (x[:, 0] @ LINEAR.weight).T.softmax(1).T,
    "layer_norm": lambda x: NORM(x.transpose(0, 1))[0],
    "pool": lambda x: F.max_pool1d(x.permute(1, 2, 0), 3, 1, 1).permute(2, 0, 1)[:, 0],
    "average": lambda x: F.avg_pool1d(x.permute(1, 2, 0), 3, 1, 1).permute(2, 0, 1)[:, 0],
    "linear": lambda x: F.linear(x[:, :, 0].T, torch.ones(3, 3).double()).T,
    "padding": lambda x: F.pad(x, (0, 0, 0, 0, 3, 0))[3:, 0],
    "gather": lambda x: x[:, 0].gather(0, torch.tensor([[1, 2, 0, 0]] * 3)),
}
KEEPING: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: F.softmax(LINEAR(x), 1)[:, 0],
    "sequence_first": lambda x: LAYER(x.transpose(0, 1))[0],
    "sort": lambda x: LINEAR(x).sort(1).values[:, 0],
    "gram": lambda x: (LINEAR(x) @ LINEAR(x).mT).flatten(1),
    "transposed": lambda x: (LINEAR.weight @ x[:, 0].T).T,
    "pairs": lambda x: (x[:, :, None] - x[:, None]).flatten(1),
    "conditioned": lambda x: x.transpose(0, 1).add(x[:, 0]).sum(0),
    "pool": lambda x: F.max_pool1d(x, 2).flatten(1),
    "gather": lambda x: x[:, 0].gather(1, torch.tensor([[1, 2, 0, 0]] * len(x))),
    "variance": lambda x: x[:, 0] / (1 + x[:, 0].var(1, False)[:, None]),
}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("name", [*MIXING, "legacy_softmax"])
def test_mixed(name: str, x: Tensor) -> None:
    net = MIXING.get(name, lambda x: F.softmax(LINEAR(x))[:, 0])
    with pytest.raises(bm.SampleAxisError, match="internal_batch_size=1"):
        bm.local_affine(net, x, 0)


@pytest.mark.parametrize("name", KEEPING)
def test_kept_apart(name: str, x: Tensor) -> None:
    net = KEEPING[name]
    bbp = bm.BiasBackprop(net, "softmax_abs")
    found = bbp.explain(x, 0)
    assert found.complete
    assert found.certificate.passed
    torch.testing.assert_close(found.map, bbp.attribute(x, 0, internal_batch_size=1))


def stranding(x: Tensor) -> Tensor:
    """Dead units before a matrix product whose batch is not the samples' axis."""
    dead = (F.relu(LINEAR(x) - 100) @ MATRICES).exp()
    return (dead * x[None, :, :3]).permute(1, 0, 2).flatten(1)


@pytest.mark.parametrize("samples", [2, 3, 4])
@pytest.mark.parametrize("fallback", ["uniform", "weight", "drop"])
def test_the_accounts_of_a_product_belong_to_their_samples(samples: int, fallback: str) -> None:
    x = torch.randn(samples, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    bbp = bm.BiasBackprop(stranding, "uniform", fallback=fallback)
    whole = bbp.explain(x, 0)
    assert whole.complete
    mass = [bbp.explain(row[None], 0).certificate.fallback_mass for row in x]
    torch.testing.assert_close(whole.certificate.fallback_mass, torch.cat(mass))
    dropped = [bbp.propagate((row[None],), 0).walk.dropped for row in x]
    torch.testing.assert_close(bbp.propagate((x,), 0).walk.dropped, torch.cat(dropped))


def test_several_inputs_of_an_operation_of_ones_own(x: Tensor) -> None:
    """How it lays them is not known; the same axis is taken for it, whatever their ranks."""

    def scaled(a: Tensor, b: Tensor) -> Tensor:
        return a + b[:, None, None]

    def handler(call: bm.Call) -> Form:
        def pull(tau: Tensor, _: Split) -> tuple[Tensor, ...]:
            return tau, torch.zeros_like(call.inputs[1])

        return Form("routing", pull, lambda: None)

    own = torch.overrides.wrap_torch_function(lambda a, b: (a, b))(scaled)
    register_op(own, handler)
    form = bm.local_affine(lambda t: own(t + 1, t[:, 0, 0])[:, 0], x, 0)
    assert form.certificate.passed
