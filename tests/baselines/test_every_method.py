"""What holds for every method of the protocol, whoever made it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from biasmatters import attribution, baselines
from biasmatters.affine.errors import InputError
from biasmatters.attribution import Complete, InputXGradient
from biasmatters.types import Attributor, Fittable

FEW = {
    "IntegratedGradients": {"steps": 4}, "SmoothGrad": {"samples": 3}, "VarGrad": {"samples": 3},
    "GradientShap": {"samples": 3}, "Lime": {"samples": 12, "segments": 4},
    "KernelShap": {"samples": 12, "segments": 4}, "Rise": {"masks": 12, "grid": 3},
    "DeepTaylor": {"low": 0.0, "high": 1.0}, "InteriorGradients": {"steps": 3},
}  # fmt: skip
NAMES = [n for n in baselines.__all__ if not n.endswith("Error")]
# Zennit's rules and Captum's modules know classes only, or need more digits than half has.
IN_HALF = {"SmoothGrad", "VarGrad", "GradientShap", "Occlusion", "Rise", "RandomMap", "Sobel"}

pytestmark = pytest.mark.filterwarnings(
    "ignore:Setting forward, backward hooks",
    "ignore::biasmatters.baselines.conservation.ConservationWarning",
)


def small_net(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 16, outputs),
    ).eval()  # fmt: skip


def pictures(count: int = 3) -> Tensor:
    return torch.rand(count, 2, 12, 12, generator=torch.Generator().manual_seed(1))


def made(name: str, net: nn.Module, dtype: torch.dtype = torch.float32) -> Attributor:
    method: Attributor = getattr(baselines, name)(net, **FEW.get(name, {}))
    if isinstance(method, Fittable):
        method.fit([pictures(16).to(dtype), pictures(16).to(dtype) ** 2])
    return method


def snapshot(net: nn.Module) -> list[object]:
    tables = [
        {k: list(v) if isinstance(v, dict) else v for k, v in vars(m).items()}
        for m in net.modules()
    ]
    values = [p.detach().clone() for p in net.parameters()]
    flags = [(p.requires_grad, id(p.grad)) for p in net.parameters()]
    return [tables, values, flags, torch.get_rng_state()]


def same(a: list[object], b: list[object]) -> bool:
    values = all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))  # type: ignore[call-overload]
    return values and a[0] == b[0] and a[2] == b[2] and torch.equal(a[3], b[3])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_like_the_input_and_nothing_is_left_behind(name: str) -> None:
    net, x = small_net(), pictures()
    net[0].weight.requires_grad_(False)
    net[3].weight.grad = torch.ones_like(net[3].weight)
    method = made(name, net)
    before = snapshot(net)
    found = method.explain(x, [0, 2, 1])
    assert found.map.shape == x.shape
    assert found.map.dtype == x.dtype
    assert not found.map.requires_grad
    assert bool(found.map.isfinite().all())
    assert found.target.tolist() == [0, 2, 1]
    assert same(before, snapshot(net))


@pytest.mark.parametrize("name", NAMES)
def test_after_an_error_inside_the_model_nothing_is_left_either(name: str) -> None:
    net = small_net()
    method, x = made(name, net), torch.rand(2, 5, 12, 12)
    before = snapshot(net)
    with pytest.raises(RuntimeError, match="channels"):  # the model takes two of them
        method.explain(x, 1)
    assert same(before, snapshot(net))


@pytest.mark.parametrize("name", NAMES)
def test_no_samples_give_no_maps(name: str) -> None:
    found = made(name, small_net()).explain(pictures()[:0], 1)
    assert found.map.shape == (0, 2, 12, 12)


@pytest.mark.parametrize("name", NAMES)
def test_inference_mode_and_views(name: str) -> None:
    net, x = small_net(), pictures()
    method = made(name, net)
    wanted = method.explain(x, 1).map
    with torch.inference_mode():
        inside = made(name, net).explain(x.clone(), 1).map
    torch.testing.assert_close(inside.clone(), wanted, rtol=1e-4, atol=1e-5)
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).requires_grad_()
    torch.testing.assert_close(method.explain(strided, 1).map, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_output_has_no_class(name: str) -> None:
    method = made(name, small_net(outputs=1))
    if name == "DeepLiftRescale":
        with pytest.raises(baselines.MethodError, match="DeepLIFT explains a class"):
            method.explain(pictures())
        return
    found = method.explain(pictures())
    assert found.target is None
    assert found.map.shape == (3, 2, 12, 12)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_stays(name: str) -> None:
    method = made(name, small_net().double(), torch.float64)
    assert method.explain(pictures().double(), 1).map.dtype == torch.float64


@pytest.mark.parametrize("name", sorted(IN_HALF))
def test_half_precision_goes_in_and_comes_out(name: str) -> None:
    found = made(name, small_net().bfloat16(), torch.bfloat16).explain(pictures().bfloat16(), 1)
    assert found.map.dtype == torch.bfloat16


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[1.0]], "is a list"),
        (torch.full((2, 2, 12, 12), torch.nan), "not finite"),
        (torch.ones(2, 2, 12, 12, dtype=torch.long), "floating-point"),
    ],
)
def test_bad_inputs_are_refused_in_words(name: str, x: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(name, small_net()).explain(x, 1)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small_net()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(x), x


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("Pattern")])
def test_a_model_that_returns_several_things_is_refused_in_words(name: str) -> None:
    with pytest.raises(InputError, match="returned a tuple, not a tensor"):
        made(name, Pair().eval()).explain(pictures(), 1)


@pytest.mark.parametrize("method", [baselines.PatternAttribution, InputXGradient])
def test_complete_learns_if_its_method_does(method: Callable[[nn.Module], Attributor]) -> None:
    whole = Complete(small_net(), method, rule="uniform")
    assert isinstance(whole, Fittable)
    found = whole.fit([pictures(16)]).explain(pictures(), 1)
    assert (found.complete is True) == (method is attribution.InputXGradient)
