"""Methods of libraries, called through the protocol and directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters import baselines
from biasmatters.types import Attributor

Work = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """One method both ways.

    Attributes:
        name: Of the method.
        ours: Through the protocol.
        theirs: The library's own call with the same settings.
        checks: Whether the protocol checks something that the library does not.
    """

    name: str
    ours: Work
    theirs: Work
    checks: bool


def pairs(model: nn.Module, x: Tensor, target: Tensor) -> list[Pair]:
    """All methods that a library does.

    Args:
        model: In evaluation mode, with activations that are modules.
        x: ``(N, C, H, W)``.
        target: ``(N,)``.
    """
    return [*_by_captum(model, x, target), *_by_zennit(model, x, target)]


def _by_captum(model: nn.Module, x: Tensor, target: Tensor) -> list[Pair]:
    from captum import attr

    zero = torch.zeros_like(x)
    leaves = [m for m in model.modules() if not list(m.children())]
    last = [m for m in leaves if isinstance(m, nn.MaxPool2d)][-1]

    def tunnel() -> None:
        for i in range(len(x)):
            row = x[i : i + 1]
            attr.NoiseTunnel(attr.Saliency(model)).attribute(
                row,
                nt_samples=50,
                stdevs=0.15 * float(row.max() - row.min()),
                target=target[i : i + 1],
                abs=False,
            )

    def leaf() -> Tensor:
        return x.clone().requires_grad_()

    made: list[tuple[str, Attributor, Work, bool]] = [
        (
            "integrated_gradients",
            baselines.IntegratedGradients(model, 50),
            lambda: attr.IntegratedGradients(model).attribute(
                x, target=target, n_steps=50, internal_batch_size=512
            ),
            False,
        ),
        ("smoothgrad", baselines.SmoothGrad(model, 50), tunnel, False),
        (
            "deeplift_rescale",
            baselines.DeepLiftRescale(model),
            lambda: attr.DeepLift(model).attribute(leaf(), zero, target=target),
            True,
        ),
        (
            "grad_cam",
            baselines.GradCam(model),
            lambda: F.interpolate(
                attr.LayerGradCam(model, last).attribute(
                    leaf(), target=target, relu_attributions=True
                ),
                x.shape[2:],
                mode="bilinear",
            ),
            False,
        ),
        (
            "occlusion",
            baselines.Occlusion(model, 5, 2),
            lambda: attr.Occlusion(model).attribute(
                x, (x.shape[1], 5, 5), (x.shape[1], 2, 2), 0.0, target, perturbations_per_eval=16
            ),
            False,
        ),
    ]
    return [
        Pair(name, partial(ours.explain, x, target), theirs, checks)
        for name, ours, theirs, checks in made
    ]


def _by_zennit(model: nn.Module, x: Tensor, target: Tensor) -> list[Pair]:
    from zennit.composites import EpsilonPlus, ExcitationBackprop, LayerMapComposite
    from zennit.rules import Epsilon, Norm, Pass, ZPlus
    from zennit.types import Activation, AvgPool, Convolution

    def layers(rule: object) -> LayerMapComposite:
        return LayerMapComposite(
            [(Activation, Pass()), (AvgPool, Norm()), (Convolution, rule), (nn.Linear, rule)]
        )

    def direct(composite: EpsilonPlus | LayerMapComposite) -> None:
        z = x.clone().requires_grad_()
        with composite.context(model):
            output = model(z)
            start = torch.zeros_like(output).scatter_(1, target[:, None], 1) * output.detach()
            torch.autograd.grad(output, z, start)

    made: list[tuple[str, Attributor, Work]] = [
        ("lrp_epsilon", baselines.LRP(model, "epsilon"), lambda: direct(layers(Epsilon()))),
        (
            "lrp_zplus",
            baselines.LRP(model, "zplus"),
            lambda: direct(layers(ZPlus(zero_params="bias"))),
        ),
        (
            "excitation_backprop",
            baselines.ExcitationBackprop(model),
            lambda: direct(ExcitationBackprop(zero_params="bias")),
        ),
    ]
    return [
        Pair(name, partial(ours.explain, x, target), theirs, True) for name, ours, theirs in made
    ]
