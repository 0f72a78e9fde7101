"""How the peers are called: once prepared, each call explains the whole batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import DeepLift, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor
from zennit.attribution import Gradient
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from benchmarks.speed.subject import Subject

Work = Callable[[], object]

STEPS = 50
# Numbers of the input in one forward pass of the methods that make 50: 16 pictures of 224 x 224.
WIDE = 16 * 3 * 224 * 224


def plain_gradient(subject: Subject) -> Work:
    """Autograd's gradient of the explained logits by the input."""

    def work() -> Tensor:
        x = subject.x.clone().requires_grad_()
        explained = subject.model(x).gather(1, subject.target.unsqueeze(1)).sum()
        return torch.autograd.grad(explained, x)[0]

    return work


def integrated_gradients(subject: Subject) -> Work:
    """Captum's integrated gradients with 50 steps, `WIDE` numbers at a time."""
    method = IntegratedGradients(subject.model)
    rows = _rows(subject)
    return lambda: method.attribute(
        subject.x, target=subject.target, n_steps=STEPS, internal_batch_size=rows
    )


def deeplift(subject: Subject) -> Work:
    """Captum's DeepLift against zeros."""
    method = DeepLift(subject.model)
    return lambda: method.attribute(subject.x.clone(), target=subject.target)


def epsilon_plus(subject: Subject) -> Work:
    """Zennit's EpsilonPlus with the canonizer made for the model, set up anew in each call."""
    classes = subject.forward().shape[1]
    chosen = torch.nn.functional.one_hot(subject.target, classes)

    def work() -> object:
        composite = EpsilonPlus(canonizers=[_canonizer(subject.name)])
        with Gradient(model=subject.model, composite=composite) as attributor:
            return attributor(subject.x.clone(), lambda out: out.detach() * chosen)

    return work


def smoothgrad(subject: Subject) -> Work:
    """Captum's NoiseTunnel over Saliency with 50 noisy copies, `WIDE` numbers at a time."""
    method = NoiseTunnel(Saliency(subject.model))
    copies = max(1, _rows(subject) // len(subject.x))
    return lambda: method.attribute(
        subject.x,
        target=subject.target,
        nt_samples=STEPS,
        nt_samples_batch_size=copies,
        stdevs=0.1,
    )


def _rows(subject: Subject) -> int:
    """Samples in one forward pass of a method that makes many."""
    batch = len(subject.x)
    return max(batch, min(STEPS * batch, WIDE // subject.x[0].numel()))


def _canonizer(name: str) -> Canonizer:
    if name.startswith("resnet"):
        return ResNetCanonizer()
    return VGGCanonizer() if name == "vgg11" else SequentialMergeBatchNorm()
