"""Random graphs: whatever is wired together, the local form is exact and every rule complete."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import biasmatters as bm

SIZES = (1, 2, 4)
STEPS = (
    "conv", "strided", "grouped", "depthwise", "dilated", "transposed", "norm", "relu", "relu6",
    "leaky", "hardtanh", "abs", "clamp", "maxpool", "avgpool", "residual", "concat", "shared",
    "in_place", "write", "view", "scale", "shift", "flip", "pad", "upsample", "maximum", "dropout",
)  # fmt: skip


class Graph(nn.Module):
    """A chain of drawn steps over ``(N, 4, H, W)``, with branches that come back."""

    def __init__(self, steps: list[str], classes: int = 3) -> None:
        super().__init__()
        self.steps = steps
        self.parts = nn.ModuleList(self._part(step) for step in steps)
        self.shared = nn.Conv2d(4, 4, 1)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, classes)

    @staticmethod
    def _part(step: str) -> nn.Module:
        return {
            "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
            "strided": lambda: nn.Conv2d(4, 4, 3, stride=2, padding=2),
            "grouped": lambda: nn.Conv2d(4, 4, 3, padding="same", groups=2, bias=False),
            "depthwise": lambda: nn.Conv2d(4, 4, 2, padding=1, groups=4),
            "dilated": lambda: nn.Conv2d(4, 4, 2, padding=1, dilation=2, padding_mode="reflect"),
            "transposed": lambda: nn.ConvTranspose2d(4, 4, 2, stride=2),
            "norm": lambda: nn.BatchNorm2d(4),
            "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7, inplace=True),
        }.get(step, nn.Identity)()

    def forward(self, x: Tensor) -> Tensor:
        for step, part in zip(self.steps, self.parts, strict=True):
            x = self._run(step, part, x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))

    def _run(self, step: str, part: nn.Module, x: Tensor) -> Tensor:
        simple: dict[str, Any] = {
            "relu": F.relu,
            "relu6": F.relu6,
            "leaky": lambda t: F.leaky_relu(t, 0.3),
            "abs": torch.abs,
            "clamp": lambda t: t.clamp(min=-0.3),
            "maxpool": lambda t: F.max_pool2d(t, 2, 1, padding=1),
            "avgpool": lambda t: F.avg_pool2d(t, 2, 1, padding=1, count_include_pad=False),
            "residual": lambda t: t + F.relu(self.shared(t)),
            "concat": lambda t: self.squeeze(torch.cat([t, 1 - t], 1)),
            "shared": lambda t: self.shared(F.relu(self.shared(t))),
            "view": lambda t: t.permute(0, 2, 3, 1).reshape(t.shape[0], -1).view_as(t) * 0.5,
            "scale": lambda t: 2 * t / 3,
            "shift": lambda t: t - torch.linspace(-1, 1, 4, dtype=t.dtype).view(4, 1, 1),
            "flip": lambda t: t.flip(2).roll(1, 3),
            "pad": lambda t: F.pad(t, (1, 0, 0, 1), value=0.5),
            "upsample": lambda t: F.interpolate(t, scale_factor=2, mode="bilinear")[:, :, :3],
            "maximum": lambda t: torch.maximum(t, self.shared(t)),
            "dropout": lambda t: F.dropout(t, 0.5, self.training),
        }
        if step in simple:
            return simple[step](x)
        if step == "in_place":
            y = self.shared(x)
            y.mul_(2).add_(1)
            y += x
            return y.relu_()
        if step == "write":
            y = self.shared(x)
            y[:, 0] = x[:, 1] * 2
            y[:, 2:].clamp_(max=0.4)
            return y
        return part(x)


def build(steps: list[str], seed: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    net = Graph(steps)
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.4)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return net.double().eval(), torch.randn(SIZES[seed % 3], 4, 5, 5, dtype=torch.float64)


def check(steps: list[str], seed: int, rule: str) -> None:
    net, x = build(steps, seed)
    leaf = x.clone().requires_grad_()
    output = net(leaf.clone())[:, 1]
    (grad,) = torch.autograd.grad(output.sum(), leaf)
    form = bm.local_affine(net, x, 1)
    scale = 1 + form.bias.abs() + form.ledger.absolute()
    assert form.certificate.verdict == "exact"
    assert bool((form.certificate.residual <= 1e-9 * scale).all())
    torch.testing.assert_close(form.output, output.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(form.weight, grad, rtol=1e-10, atol=1e-12)
    found = bm.BiasBackprop(net, rule).explain(x, 1)
    assert bool((found.residual <= 1e-9 * scale).all())
    within(net, x, form)


def within(net: nn.Module, x: Tensor, form: bm.LocalAffine) -> None:
    """f(x + d) = w (x + d) + b for d so small that no pre-activation can cross its boundary."""
    step = torch.randn_like(x)
    reach = form.certificate.margin.clamp_max(1) * 1e-4
    step *= (reach / step.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    moved = net(x + step)[:, 1].detach()
    affine = (form.weight * (x + step)).flatten(1).sum(1) + form.bias
    torch.testing.assert_close(moved, affine, rtol=1e-10, atol=1e-10)


graphs = st.lists(st.sampled_from(STEPS), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(steps=graphs, seed=st.integers(0, 10**6), rule=st.sampled_from(bm.RULES))
def test_random_graphs(steps: list[str], seed: int, rule: str) -> None:
    check(steps, seed, rule)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=graphs, seed=st.integers(0, 10**6), rule=st.sampled_from(bm.RULES))
def test_many_random_graphs(steps: list[str], seed: int, rule: str) -> None:
    check(steps, seed, rule)


@pytest.mark.parametrize("step", STEPS)
def test_every_step_alone(step: str) -> None:
    for rule in bm.RULES:
        check([step], 1, rule)
