"""What a network still knows when its bias, or its weight, is taken away."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

from biasmatters.metrics.functional._checks import MetricInputError, check_target
from biasmatters.metrics.functional.following import undisturbed
from biasmatters.products import full_products

AblationMode = Literal["forward", "reverse"]


@dataclass(frozen=True)
class BiasAblation:
    """The logits of a network split into what scales with the input and what does not.

    Attributes:
        all: ``(N, classes)`` f(x).
        weight: ``(N, classes)`` w_k . x.
        bias: ``(N, classes)`` b_k = f_k(x) - w_k . x.
    """

    all: Tensor
    weight: Tensor
    bias: Tensor

    def correct(self, labels: Tensor) -> dict[str, Tensor]:
        """Whether the arg-max of each part is the label.

        Args:
            labels: ``(N,)`` class indices.

        Returns:
            ``accuracy_all``, ``accuracy_weight`` and ``accuracy_bias``, each ``(N,)`` float of 0
            and 1: their means are the accuracies, and they can be bootstrapped.
        """
        target = check_target(labels, *self.all.shape).to(self.all.device)
        parts = {"all": self.all, "weight": self.weight, "bias": self.bias}
        return {f"accuracy_{k}": (v.argmax(1) == target).float() for k, v in parts.items()}

    def accuracy(self, labels: Tensor) -> dict[str, float]:
        """The three accuracies, as fractions of 1."""
        return {name: float(hits.mean()) for name, hits in self.correct(labels).items()}


def bias_ablation(
    model: Callable[[Tensor], Tensor], x: Tensor, *, mode: AblationMode = "forward"
) -> BiasAblation:
    """Split the logits at each x into w.x and b, for all classes at once.

    f(x) = w.x + b with w = df/dx, so w.x = J(x) x is one Jacobian-vector product, jvp(f, x, x).
    In a network trained without bias b is zero up to round-off, and its arg-max means nothing. On a
    GPU its products are not rounded to TF32, which is no linear map.

    Args:
        model: Maps ``(N, ...)`` to ``(N, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, *features)``, floating point.
        mode: ``forward`` (one pass) or ``reverse`` (one backward pass a class, for models with an
            operation that has no forward derivative).

    Returns:
        The three parts, detached.

    Raises:
        MetricInputError: If x is not floating point, the output is not ``(N, classes)``, or the
            model has no forward derivative.

    Source:
        Wang, Zhou, Bilmes: Bias Also Matters, ICML 2019, Table 1.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2)
        >>> model.weight.data, model.bias.data = torch.eye(2), torch.tensor([0.0, 5.0])
        >>> parts = bias_ablation(model, torch.tensor([[2.0, 1.0]]))
        >>> parts.weight, parts.bias
        (tensor([[2., 1.]]), tensor([[0., 5.]]))
        >>> parts.accuracy(torch.tensor([0]))
        {'accuracy_all': 0.0, 'accuracy_weight': 1.0, 'accuracy_bias': 0.0}
    """
    if not x.is_floating_point() or x.ndim < 2:
        raise MetricInputError("x must be floating point and (N, *features).")
    if mode not in get_args(AblationMode):
        raise MetricInputError(f"mode={mode!r} is unknown; choose one of {get_args(AblationMode)}.")
    with torch.inference_mode(False), undisturbed(model), full_products(x.device):
        point = x.detach().clone()
        out, weight = (_forward if mode == "forward" else _reverse)(model, point)
    return BiasAblation(out, weight, out - weight)


def _forward(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and J(x) x by one forward-mode pass."""
    try:
        with torch.no_grad(), forward_ad.dual_level():
            out = _two_dimensional(model(_dual(x)), len(x))
            primal, tangent = forward_ad.unpack_dual(out)  # type: ignore[no-untyped-call]
            value = primal.detach().clone()
            return value, torch.zeros_like(value) if tangent is None else tangent.detach().clone()
    except NotImplementedError as error:
        raise MetricInputError(
            'the model has an operation without a forward derivative; use mode="reverse". '
            f"({error})"
        ) from error


def _dual(x: Tensor) -> Tensor:
    """Pair x with itself as tangent; torch warns of its own ``jit.script`` at first use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        dual: Tensor = forward_ad.make_dual(x, x)  # type: ignore[no-untyped-call]
    return dual


def _reverse(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and J(x) x by one backward pass a class."""
    with torch.enable_grad():
        leaf = x.requires_grad_()
        out = _two_dimensional(model(leaf), len(x))
        rows = [torch.autograd.grad(c.sum(), leaf, retain_graph=True)[0] for c in out.unbind(1)]
    inner = [(row * leaf.detach()).flatten(1).sum(1) for row in rows]
    return out.detach(), torch.stack(inner, 1)


def _two_dimensional(out: Tensor, n: int) -> Tensor:
    """Refuse anything but ``(n, classes)``."""
    if out.ndim != 2 or len(out) != n:
        raise MetricInputError(f"the model gave {tuple(out.shape)}; it must give ({n}, classes).")
    return out
