"""What hooks on modules do not reach is named before anything is propagated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.utils import prune
from zennit.canonizers import AttributeCanonizer, SequentialMergeBatchNorm
from zennit.layer import Sum

import biasmatters as bm
from biasmatters.baselines.coverage import bends, missed
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.lrp import LRP
from tests.affine.nets import seeded


class Net(nn.Module):
    """A stem and a head with any function between, and what modules that function uses."""

    def __init__(self, between: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.extra, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.relu, self.norm, self.pool = nn.ReLU(), nn.BatchNorm1d(6), nn.AvgPool1d(1)
        self.scale = nn.Parameter(torch.ones(6))
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self, self.stem(x)))


MISSED = {
    "add in the model": lambda n, h: n.relu(h) + n.extra(h),
    "linear in extra (runs 2 times)": lambda n, h: n.extra(n.relu(n.extra(h))),
    "linear in the model": lambda n, h: F.linear(n.relu(h), n.extra.weight),
    "mul in the model": lambda n, h: n.relu(h) * n.extra(h).sigmoid(),
    "softmax in the model": lambda n, h: h.softmax(1),
    "leaky_relu in the model": lambda n, h: F.leaky_relu(h),
    "relu6 in the model": lambda n, h: F.relu6(100 * h),
    "batch_norm in norm": lambda n, h: n.norm(n.relu(h)),
    "avg_pool1d in the model": lambda n, h: F.avg_pool1d(n.relu(h)[:, None], 3, 1, 1)[:, 0],
    "mean in the model": lambda n, h: n.relu(h).mean(1, keepdim=True).expand(-1, 6),
    "layer_norm in the model": lambda n, h: F.layer_norm(h, (6,)),
}


@pytest.mark.parametrize("name", MISSED)
def test_operations_are_named(name: str) -> None:
    torch.manual_seed(0)
    net, x = seeded(Net(MISSED[name])), torch.randn(3, 4, dtype=torch.float64)
    for rule in ("zero", "zplus"):
        with pytest.raises(MethodError) as error:
            LRP(net, rule).explain(x, 0)
        assert name in str(error.value)
        assert "InputXGradient" in str(error.value)


HARMLESS = {
    "functional": lambda n, h: F.relu(n.norm(n.extra(F.relu(h)))),
    "reused": lambda n, h: n.relu(n.extra(n.relu(h))),
    "moved": lambda n, h: torch.cat([n.relu(h)[:, 3:], n.relu(h).flip(1)[:, :3]], 1).clone(),
    "written": lambda n, h: n.extra(h).relu_(),
    "merged": lambda n, h: n.relu(n.norm(n.extra(n.relu(h)))),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_matter_is_not_refused(name: str) -> None:
    """A ReLU by function, or one used twice, and copies: LRP-0 is w * x to the last digit."""
    torch.manual_seed(0)
    net, x = seeded(Net(HARMLESS[name])), torch.randn(3, 4, dtype=torch.float64)
    answer = LRP(net, "zero").explain(x, 0)
    torch.testing.assert_close(answer.map, bm.local_affine(net, x, 0).weight * x)
    assert answer.complete


def test_missed_for_other_methods() -> None:
    """Guided back-propagation by hooks on ``nn.ReLU``: item 1 of the failure zoo."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64)

    def hooked(module: nn.Module) -> str | None:
        return "always" if isinstance(module, nn.ReLU) else None

    def once(module: nn.Module) -> str | None:
        return "once" if isinstance(module, nn.ReLU) else None

    functional, reused = (seeded(Net(HARMLESS[name])) for name in ("functional", "reused"))
    assert missed(functional, x, hooked, bends) == ("relu in the model",)
    assert missed(reused, x, hooked, bends) == ()
    assert missed(reused, x, once, bends) == ("relu in relu (runs 2 times)",)
    assert missed(reused, x, once, bends, lambda out: out[:, 0].relu()) == (
        "relu in relu (runs 2 times)",
    )


class Block(nn.Module):
    """A residual block as users write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.relu(self.conv(x))


def summed(self: Block, x: Tensor) -> Tensor:
    return self.total(torch.stack([x, self.relu(self.conv(x))], -1))


def test_a_users_residual_block_by_name_and_with_its_canonizer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), Block(), nn.Flatten(), nn.Linear(48, 2))
    seeded(net)
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    with pytest.raises(MethodError, match="add in 2"):
        LRP(net, "zero").explain(x, 0)

    def attributes(_: str, module: nn.Module) -> dict[str, object] | None:
        if not isinstance(module, Block):
            return None
        return {"forward": summed.__get__(module), "total": Sum()}

    answer = LRP(net, "zero", canonizers=[AttributeCanonizer(attributes)]).explain(x, 0)
    torch.testing.assert_close(answer.map, bm.local_affine(net, x, 0).weight * x)
    assert answer.complete
    assert not hasattr(net[2], "total")
    assert "forward" not in vars(net[2])


def test_canonizers_that_change_the_function() -> None:
    """Batch-norm before the linear layer; Zennit's merge goes by the order of registration."""

    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.norm(x))

    torch.manual_seed(0)
    net, x = seeded(Before()), torch.randn(2, 4, dtype=torch.float64)
    with pytest.raises(MethodError, match="change what the model computes"):
        LRP(net, "zero", canonizers=[SequentialMergeBatchNorm()]).explain(x, 0)
    with pytest.raises(MethodError, match="batch_norm in norm"):
        LRP(net, "zero").explain(x, 0)


def test_densenet_and_transformer_are_refused_by_name() -> None:
    """Item 5 of the failure zoo, where Zennit raises out of a hook or a merge."""
    torch.manual_seed(0)
    dense = torchvision.models.DenseNet(8, (2, 2), 16, num_classes=3)
    weights = {k: v.clone() for k, v in seeded(dense).state_dict().items()}
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with pytest.raises(MethodError, match=r"batch_norm in features\.denseblock1\."):
        LRP(dense, "zplus").explain(x, 0)
    with pytest.raises(MethodError, match="SequentialMergeBatchNorm does not fit"):
        LRP(dense, "zplus", canonizers=[SequentialMergeBatchNorm()]).explain(x, 0)
    torch.testing.assert_close(dense.state_dict(), weights, rtol=0, atol=0)
    vit = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 24, num_classes=5)
    with pytest.raises(MethodError) as error:
        LRP(seeded(vit, 0.2), "epsilon").explain(x, 0)
    for name in ("layer_norm in encoder.layers", "softmax in encoder.layers", "self_attention"):
        assert name in str(error.value)


class Negated(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, -self.weight, self.bias)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.weight_norm,
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        lambda _: Negated(4, 6),
    ],
)
@pytest.mark.parametrize("variant", ["zplus", "epsilon"])
def test_a_weight_made_of_other_parameters_is_refused(wrap, variant: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(wrap(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3)).eval()
    with pytest.raises(MethodError, match=r"linear in 0 \(with a weight made of other parameters"):
        LRP(net, variant).explain(torch.rand(2, 4), 1)
