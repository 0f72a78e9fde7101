"""What the peers do on the same model and input: complete, silently incomplete, or they raise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import LRP, DeepLift
from torch import Tensor
from zennit.attribution import Gradient
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from benchmarks.zoo.fullgrad import FullGrad
from benchmarks.zoo.ours import Figures, row_sums
from benchmarks.zoo.subject import Subject

COMPLETE = {torch.float64: 1e-6, torch.float32: 1e-3}

Sums = tuple[Tensor, Tensor]


def explained(subject: Subject, x: Tensor | None = None) -> Tensor:
    """The explained logits at the subject's input or another one, ``(N,)``."""
    with torch.no_grad():
        out = subject.model(subject.x if x is None else x)
    return torch.as_tensor(out.gather(1, subject.target.unsqueeze(1)).squeeze(1))


def captum_lrp(subject: Subject) -> Sums:
    """Captum's LRP with its own choice of rules, whose sum should be f(x)."""
    f = explained(subject)
    found = LRP(subject.model).attribute(subject.x.clone(), target=subject.target)
    return row_sums(found.detach()), f


def captum_deeplift(subject: Subject) -> Sums:
    """Captum's DeepLift against zeros, whose sum should be f(x) - f(0)."""
    gain = explained(subject) - explained(subject, torch.zeros_like(subject.x))
    found = DeepLift(subject.model).attribute(subject.x.clone(), target=subject.target)
    return row_sums(found.detach()), gain


def zennit_epsilonplus(subject: Subject) -> Sums:
    """Zennit's EpsilonPlus with the canonizer made for the model, whose sum should be f(x)."""
    f = explained(subject)
    chosen = torch.nn.functional.one_hot(subject.target, subject.model(subject.x).shape[1])
    composite = EpsilonPlus(canonizers=[_canonizer(subject.name)])
    with Gradient(model=subject.model, composite=composite) as attributor:
        _, found = attributor(subject.x.clone(), lambda out: out.detach() * chosen)
    return row_sums(found.detach()), f


def fullgrad(subject: Subject) -> Sums:
    """FullGrad's bias gradients by module, whose sum should be f(x)."""
    return FullGrad(subject.model).total(subject), explained(subject)


PEERS: dict[str, Callable[[Subject], Sums]] = {
    "captum_lrp": captum_lrp,
    "captum_deeplift": captum_deeplift,
    "zennit_epsilonplus": zennit_epsilonplus,
    "fullgrad": fullgrad,
}


def peer_figures(subject: Subject, peer: str) -> Figures:
    """The outcome with the largest relative error of its sums."""
    total, expected = PEERS[peer](subject)
    error = float(((total - expected).abs() / expected.abs()).nan_to_num(torch.inf).max())
    if error <= COMPLETE[total.dtype]:
        return {"outcome": "complete", "error": f"{error:.1e}"}
    return {"outcome": "silently incomplete", "error": f"{error:.1e}"}


def _canonizer(name: str) -> Canonizer:
    library, _, short = name.partition("/")
    if library == "torchvision" and "resn" in short:
        return ResNetCanonizer()
    if library == "torchvision" and short.startswith("vgg"):
        return VGGCanonizer()
    return SequentialMergeBatchNorm()
