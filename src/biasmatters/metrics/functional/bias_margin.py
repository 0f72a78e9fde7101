"""How much of a network's decision is bias, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_target
from biasmatters.metrics.functional.ablation import BiasAblation
from biasmatters.metrics.functional.standing import label_standing

MarginOf = Literal["predicted", "label"]


@dataclass(frozen=True)
class BiasMargin:
    """A decision's margin over its runner-up, split into what is w.x and what is b.

    Attributes:
        margin: ``(N,)`` f_c - f_r, in logits.
        weight: ``(N,)`` w_c.x - w_r.x, in logits.
        bias: ``(N,)`` b_c - b_r, in logits.
        chosen: ``(N,)`` the class c.
        runner_up: ``(N,)`` the class r.
    """

    margin: Tensor
    weight: Tensor
    bias: Tensor
    chosen: Tensor
    runner_up: Tensor

    @property
    def bias_share(self) -> Tensor:
        """``(N,)`` (b_c - b_r) / (f_c - f_r), NaN where two classes tie.

        Not confined to [0, 1]: it is negative where the bias speaks against the decision and more
        than 1 where w.x does. Small margins make it huge, so take medians of it, not means.
        """
        share = self.bias / self.margin
        return torch.where(self.margin == 0, torch.nan, share)

    @property
    def weight_share(self) -> Tensor:
        """``(N,)`` 1 - bias_share."""
        return 1 - self.bias_share


def bias_margin(parts: BiasAblation, labels: int | Tensor | None = None) -> BiasMargin:
    """Split the margin between a class and its runner-up into the part of w.x and that of b.

    m = f_c - f_r = (w_c.x - w_r.x) + (b_c - b_r), with c the predicted class, or the label if it is
    given, and r the best of the other classes by f.

    Args:
        parts: The split logits, of two classes or more.
        labels: ``(N,)``, to take as c in place of the predicted class; the margin is then negative
            for pictures that the network gets wrong.

    Returns:
        The two parts of the margin.

    Raises:
        MetricInputError: For a single class, or labels that are not classes.

    Example:
        >>> import torch
        >>> all, weight = torch.tensor([[5.0, 3.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0]])
        >>> split = bias_margin(BiasAblation(all, weight, all - weight))
        >>> split.weight, split.bias, split.bias_share
        (tensor([-1.]), tensor([3.]), tensor([1.5000]))
    """
    if parts.all.ndim != 2 or parts.all.shape[1] < 2:
        raise MetricInputError(
            f"logits of shape {tuple(parts.all.shape)} have no runner-up; a margin needs "
            "(N, classes) with two classes or more."
        )
    if labels is None:
        chosen = parts.all.argmax(1)
    else:
        chosen = check_target(labels, *parts.all.shape).to(parts.all.device)
    others = parts.all.scatter(1, chosen[:, None], -torch.inf)
    pair = torch.stack([chosen, others.argmax(1)], 1)
    both = (part.gather(1, pair) for part in (parts.all, parts.weight, parts.bias))
    return BiasMargin(*(values[:, 0] - values[:, 1] for values in both), *pair.unbind(1))


def with_mean_bias(parts: BiasAblation, mean: Tensor) -> BiasAblation:
    """Put one bias in the place of every picture's own: logits w.x + mean.

    With the mean of b over the data set this keeps what the bias says of classes in general and
    takes away what it says of the picture.

    Args:
        parts: The split logits.
        mean: ``(classes,)``, such as ``b.mean(0)`` over *all* pictures of a data set.

    Returns:
        The split logits with ``bias`` the mean and ``all`` the new sum.

    Raises:
        MetricInputError: If the mean is not one figure a class.

    Example:
        >>> import torch
        >>> weight, bias = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[0.0, 2], [2, 0]])
        >>> with_mean_bias(BiasAblation(weight + bias, weight, bias), bias.mean(0)).all
        tensor([[2., 1.],
                [1., 2.]])
    """
    if mean.shape != parts.weight.shape[1:]:
        raise MetricInputError(
            f"mean has the shape {tuple(mean.shape)}; give one figure a class, "
            f"{tuple(parts.weight.shape[1:])}: bias.mean(0) over the data set."
        )
    bias = mean.to(parts.weight).expand_as(parts.weight)
    return BiasAblation(parts.weight + bias, parts.weight, bias)


def ablation_figures(
    parts: BiasAblation,
    labels: int | Tensor,
    *,
    mean_bias: Tensor | None = None,
    margin_of: MarginOf = "predicted",
) -> dict[str, Tensor]:
    """Everything that the split logits say of each picture.

    Args:
        parts: The split logits.
        labels: ``(N,)`` class indices.
        mean_bias: ``(classes,)`` mean of b over the data set; None leaves out what needs it.
        margin_of: Whose margin: that of the ``predicted`` class or of the ``label``.

    Returns:
        Name to ``(N,)`` figures. For each of ``all``, ``weight``, ``bias`` and (given its mean)
        ``mean_bias``: ``accuracy_*``, ``confidence_*`` and ``rank_*`` of the label and, for more
        than 5 classes, ``top5_*``. Then, as 0 and 1: ``agree_all_weight``, ``agree_all_bias``,
        ``agree_weight_bias`` (same arg-max), ``changes_without_bias``, ``changes_with_mean_bias``
        (another arg-max than f's) and ``bias_supports`` (the bias favours c over r). In logits:
        ``margin``, ``margin_weight``, ``margin_bias``. As fractions: ``bias_share``,
        ``weight_share``, which are NaN where two classes tie.

    Raises:
        MetricInputError: For labels that are not classes, logits that are not finite, a single
            class, a mean of another shape, or an unknown ``margin_of``.

    Source:
        The split is Wang, Zhou, Bilmes: Bias Also Matters, ICML 2019; the figures are ours.

    Example:
        >>> import torch
        >>> all, weight = torch.tensor([[5.0, 3.0]]), torch.tensor([[1.0, 2.0]])
        >>> found = ablation_figures(BiasAblation(all, weight, all - weight), torch.tensor([0]))
        >>> found["accuracy_all"], found["changes_without_bias"], found["bias_share"]
        (tensor([1.]), tensor([1.]), tensor([1.5000]))
    """
    if margin_of not in get_args(MarginOf):
        raise MetricInputError(f"margin_of={margin_of!r} is unknown; choose predicted or label.")
    logits = {"all": parts.all, "weight": parts.weight, "bias": parts.bias}
    if mean_bias is not None:
        logits["mean_bias"] = with_mean_bias(parts, mean_bias).all
    figures = {
        f"{figure}_{name}": values
        for name, part in logits.items()
        for figure, values in label_standing(part, labels).items()
    }
    return {
        **figures,
        **_agreement(logits),
        **_shares(bias_margin(parts, labels if margin_of == "label" else None)),
    }


def _agreement(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whose arg-max is whose."""
    decided = {name: values.argmax(1) for name, values in logits.items()}

    def same(one: str, other: str) -> Tensor:
        return (decided[one] == decided[other]).float()

    found = {
        "agree_all_weight": same("all", "weight"),
        "agree_all_bias": same("all", "bias"),
        "agree_weight_bias": same("weight", "bias"),
        "changes_without_bias": 1 - same("all", "weight"),
    }
    if "mean_bias" in decided:
        found["changes_with_mean_bias"] = 1 - same("all", "mean_bias")
    return found


def _shares(split: BiasMargin) -> dict[str, Tensor]:
    return {
        "margin": split.margin,
        "margin_weight": split.weight,
        "margin_bias": split.bias,
        "bias_supports": (split.bias > 0).float(),
        "bias_share": split.bias_share,
        "weight_share": split.weight_share,
    }
