"""The methods by Captum equal a direct call, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum._utils.models.linear_model import SkLearnLasso
from captum.attr._core.lime import get_exp_kernel_similarity_function
from torch import Tensor, nn

from biasmatters.attribution import Gradient, InputXGradient
from biasmatters.baselines import (
    DeepLiftRescale,
    DeepLiftRevealCancel,
    GradCam,
    GradientShap,
    GuidedGradCam,
    KernelShap,
    Lime,
    MethodError,
    Occlusion,
    SmoothGrad,
    VarGrad,
)
from biasmatters.baselines.conservation import ConservationWarning
from biasmatters.baselines.noise import image_seed, seeded
from biasmatters.baselines.superpixels import superpixels
from biasmatters.types import Attribution, Attributor


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 16, 8), nn.ReLU(), nn.Linear(8, 3),
    ).eval()  # fmt: skip


@pytest.fixture
def net() -> nn.Sequential:
    return small_net()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(1))


TARGET = [0, 2, 1]


def rows(x: Tensor) -> Iterator[tuple[Tensor, int]]:
    return ((x[i : i + 1], target) for i, target in enumerate(TARGET))


@pytest.mark.parametrize(("kind", "method"), [("smoothgrad", SmoothGrad), ("vargrad", VarGrad)])
def test_noise_tunnels(net: nn.Sequential, x: Tensor, kind: str, method: type) -> None:
    found = method(net, samples=5, noise=0.2, seed=3).explain(x, TARGET).map
    for i, (row, target) in enumerate(rows(x)):
        with seeded(image_seed(3, row[0]), row):
            wanted = captum.attr.NoiseTunnel(captum.attr.Saliency(net)).attribute(
                row, nt_type=kind, nt_samples=5, stdevs=0.2 * float(row.max() - row.min()),
                target=target, abs=False,
            )  # fmt: skip
        torch.testing.assert_close(found[i : i + 1], wanted, rtol=1e-5, atol=1e-5)


def test_smoothgrad_without_noise_is_the_gradient(net: nn.Sequential, x: Tensor) -> None:
    found = SmoothGrad(net, samples=3, noise=0).explain(x, TARGET).map
    leaf = x.clone().requires_grad_()
    net(leaf)[range(3), TARGET].sum().backward()
    torch.testing.assert_close(found, leaf.grad)


@pytest.mark.parametrize(
    "make",
    [
        lambda net, seed: SmoothGrad(net, samples=4, seed=seed),
        lambda net, seed: GradientShap(net, samples=4, seed=seed),
        lambda net, seed: Lime(net, samples=20, segments=6, penalty=1e-4, seed=seed),
        lambda net, seed: KernelShap(net, samples=20, segments=6, seed=seed),
    ],
)
def test_an_images_noise_is_its_own(
    net: nn.Sequential, x: Tensor, make: Callable[[nn.Module, int], Attributor]
) -> None:
    method = make(net, 0)
    together = method.explain(x, TARGET).map
    alone = method.explain(x[2:], TARGET[2:]).map
    torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-6)
    other = make(net, 1).explain(x[2:], TARGET[2:]).map
    assert not torch.allclose(other, alone, rtol=1e-2)


def test_gradient_shap(net: nn.Sequential, x: Tensor) -> None:
    background = torch.rand(4, 1, 12, 12)
    method = GradientShap(net, samples=6, noise=0.1, seed=2).fit([background[:3], background[3:]])
    found = method.explain(x, TARGET).map
    for i, (row, target) in enumerate(rows(x)):
        with seeded(image_seed(2, row[0]), row):
            wanted = captum.attr.GradientShap(net).attribute(
                row,
                baselines=background,
                n_samples=6,
                target=target,
                stdevs=0.1 * float(row.max() - row.min()),
            )
        torch.testing.assert_close(found[i : i + 1], wanted, rtol=1e-5, atol=1e-5)


def test_gradient_shap_keeps_as_many_backgrounds_as_it_is_told(net: nn.Sequential) -> None:
    method = GradientShap(net, backgrounds=3).fit(torch.rand(9, 2, 1, 12, 12))
    assert method._kept is not None
    assert len(method._kept) == 3


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deeplift_rescale(net: nn.Sequential, x: Tensor) -> None:
    found = DeepLiftRescale(net).explain(x, TARGET)
    wanted = captum.attr.DeepLift(small_net()).attribute(
        x.clone().requires_grad_(), torch.zeros_like(x), target=TARGET
    )
    torch.testing.assert_close(found.map, wanted.detach(), rtol=1e-5, atol=1e-5)
    assert found.complete


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deeplift_says_that_captums_max_pool_loses_the_sum() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    ).eval()  # fmt: skip
    for layer in (model[0], model[3]):
        nn.init.uniform_(layer.bias, -1, 1)
    x = torch.rand(4, 1, 12, 12)
    with pytest.warns(ConservationWarning, match=r"misses its total .* max-pools 2, 5, "):
        found = DeepLiftRescale(model).explain(x)
    assert found.complete is False
    assert DeepLiftRevealCancel(model).explain(x).complete


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))


class Reused(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.relu = nn.Linear(7, 7), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.relu(self.c(self.relu(self.a(x)))))


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deeplift_names_the_activation_it_would_not_see() -> None:
    torch.manual_seed(0)
    x, model = torch.randn(4, 5), Functional().eval()
    assert captum_delta(model, x) > 1e-3  # Captum says nothing of it
    with pytest.raises(MethodError, match=r"'relu' in 'the model'.*nn\.ReLU"):
        DeepLiftRescale(model).explain(x, 0)


def captum_delta(model: nn.Module, x: Tensor) -> float:
    zero = torch.zeros_like(x)
    found = captum.attr.DeepLift(model).attribute(x.clone().requires_grad_(), zero, target=0)
    rise = (model(x) - model(zero))[:, 0]
    return float((found.sum(1) - rise).detach().abs().max())


def test_deeplift_names_a_reused_activation() -> None:
    with pytest.raises(MethodError, match="'relu', which is run more than once"):
        DeepLiftRescale(Reused().eval()).explain(torch.randn(2, 5), 0)


def test_grad_cam(net: nn.Sequential, x: Tensor) -> None:
    found = GradCam(net).explain(x, TARGET).map
    cam = captum.attr.LayerGradCam(net, net[4])
    coarse = cam.attribute(x, target=TARGET, relu_attributions=True)
    wanted = F.interpolate(coarse, size=(12, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-5, atol=1e-6)
    assert GradCam(net, layer="0").explain(x).map.shape == x.shape


def test_grad_cam_refuses_what_has_no_maps(net: nn.Sequential, x: Tensor) -> None:
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).eval()
    with pytest.raises(MethodError, match="No layer of this model gives maps"):
        GradCam(mlp).explain(x, 0)
    with pytest.raises(MethodError, match=r"layer='7' gives no maps.*these do: 0, 1, 2, 3, 4"):
        GradCam(net, layer="7").explain(x, 0)


def test_guided_grad_cam_on_modules_is_captums(net: nn.Sequential, x: Tensor) -> None:
    found = GuidedGradCam(net, layer="3").explain(x, TARGET).map
    guided = captum.attr.GuidedBackprop(small_net())
    cam = GradCam(net, layer="3").explain(x, TARGET).map
    with pytest.warns(UserWarning, match="hooks"):
        wanted = guided.attribute(x.clone().requires_grad_(), target=TARGET).detach() * cam
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_occlusion(net: nn.Sequential, x: Tensor) -> None:
    found = Occlusion(net, window=4, stride=2, chunk=3).explain(x, TARGET).map
    wanted = captum.attr.Occlusion(net).attribute(
        x, sliding_window_shapes=(1, 4, 4), strides=(1, 2, 2), baselines=0.0, target=TARGET
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_shapley_values_sum_to_the_rise(net: nn.Sequential, x: Tensor) -> None:
    found = KernelShap(net, samples=400, segments=5, seed=1).explain(x, TARGET).map
    rise = (net(x) - net(torch.zeros_like(x)))[range(3), TARGET]
    torch.testing.assert_close(found.flatten(1).sum(1), rise.detach(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["lime", "kernel_shap"])
def test_surrogates_are_captums(net: nn.Sequential, x: Tensor, name: str) -> None:
    own = {"samples": 40, "segments": 5, "seed": 2}
    if name == "lime":
        found = Lime(net, penalty=1e-3, width=0.5, **own).explain(x, TARGET).map
        similarity = get_exp_kernel_similarity_function("cosine", 0.5)
        theirs = captum.attr.Lime(net, SkLearnLasso(alpha=1e-3), similarity)
    else:
        found = KernelShap(net, **own).explain(x, TARGET).map
        theirs = captum.attr.KernelShap(net)
    for i, (row, target) in enumerate(rows(x)):
        segments = superpixels(row[0], 5)
        with seeded(image_seed(2, row[0]), row):
            wanted = theirs.attribute(row, target=target, feature_mask=segments, n_samples=40)
        sizes = torch.bincount(segments.flatten())[segments]
        torch.testing.assert_close(found[i, 0] * sizes, wanted[0, 0], rtol=1e-5, atol=1e-5)


def test_the_w_part(net: nn.Sequential, x: Tensor) -> None:
    leaf = x.clone().requires_grad_()
    saliency = captum.attr.Saliency(net).attribute(leaf, target=TARGET, abs=False)
    torch.testing.assert_close(Gradient(net).explain(x, TARGET).map, saliency)
    product = captum.attr.InputXGradient(net).attribute(leaf, target=TARGET)
    torch.testing.assert_close(InputXGradient(net).explain(x, TARGET).map, product.detach())


def test_lime_gives_each_superpixel_one_number(net: nn.Sequential, x: Tensor) -> None:
    found = Lime(net, samples=60, segments=6, penalty=1e-4).explain(x, TARGET).map
    segments = superpixels(x[0], 6)
    for k in segments.unique():
        assert len(found[0, 0][segments == k].unique()) == 1
    assert bool(found.any())


@pytest.mark.parametrize(
    "make",
    [
        SmoothGrad, VarGrad, GradientShap, DeepLiftRescale, GradCam, GuidedGradCam, Occlusion,
        Lime, KernelShap,
    ],
)  # fmt: skip
def test_the_model_and_the_random_numbers_stay(
    net: nn.Sequential, x: Tensor, make: Callable[[nn.Module], Attributor]
) -> None:
    net[0].weight.requires_grad_(False)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    found: Attribution = make(net).explain(x[:1], 1)
    assert found.map.shape == x[:1].shape
    assert not found.map.requires_grad
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 7
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda net: SmoothGrad(net, samples=0), "samples=0: give a whole number, at least 1"),
        (lambda net: SmoothGrad(net, noise=-1), "noise=-1: give a number from 0 to 10"),
        (lambda net: Occlusion(net, window=3, stride=5), "leaves pixels out"),
        (lambda net: Lime(net, segments=1), "segments=1"),
        (lambda net: GradientShap(net, backgrounds=0), "backgrounds=0"),
    ],
)
def test_settings_are_checked_before_any_work(make: Callable, words: str) -> None:
    with pytest.raises(MethodError, match=words):
        make(nn.Identity())


def test_windows_that_do_not_fit(net: nn.Sequential, x: Tensor) -> None:
    with pytest.raises(MethodError, match="window=13 is larger"):
        Occlusion(net, window=13).explain(x)
    with pytest.raises(MethodError, match="windows of pictures"):
        Occlusion(net).explain(torch.rand(2, 5))
