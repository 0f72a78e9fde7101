"""The whole suite of the bias ablation as a torchmetric."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.ablation import AblationMode, BiasAblation, bias_ablation
from biasmatters.metrics.functional.bias_margin import MarginOf, ablation_figures

SHARES = ("bias_share", "weight_share")


class BiasAblationSuite(Metric):
    """What f, w.x, b and w.x with the mean b each say of the label, and whose the margin is.

    The mean of b is taken over all pictures seen, so the logits of all are kept, 8 bytes a class
    and picture in float32 (``compute_on_cpu=True`` moves them off the device).

    Args:
        model: Maps ``(N, ...)`` to ``(N, classes)``; it is not registered as a submodule.
        mode: ``forward`` or ``reverse``, as for :func:`bias_ablation`.
        margin_of: ``predicted`` or ``label``, as for :func:`ablation_figures`.

    Example:
        >>> import torch
        >>> metric = BiasAblationSuite(torch.nn.Linear(4, 3))
        >>> metric.update(torch.rand(5, 4), torch.zeros(5, dtype=torch.long))
        >>> metric.compute()["accuracy_mean_bias"] == metric.compute()["accuracy_all"]
        tensor(True)
    """

    full_state_update: bool = False
    is_differentiable: bool = False
    higher_is_better: bool | None = None
    outputs: list[Tensor]
    weights: list[Tensor]
    labels: list[Tensor]

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        *,
        mode: AblationMode = "forward",
        margin_of: MarginOf = "predicted",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._split = partial(bias_ablation, model, mode=mode)
        self._margin_of: MarginOf = margin_of
        for name in ("outputs", "weights", "labels"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, x: Tensor, labels: Tensor) -> None:
        """Split a batch: ``(N, ...)`` inputs and their ``(N,)`` labels."""
        parts = self._split(x)
        parts.correct(labels)  # refuses wrong labels here, not when all is over
        self.outputs.append(parts.all)
        self.weights.append(parts.weight)
        self.labels.append(labels.to(parts.all.device))

    def compute(self) -> dict[str, Tensor]:
        """Means over all pictures of what :func:`ablation_figures` names, as scalars.

        A mean of shares would hang on the few pictures with a margin near 0, so of the shares
        there are ``bias_share_median`` and ``bias_share_pooled`` (the sum of the bias's parts of
        the margins over the sum of the margins), and likewise ``weight_share_*``.
        """
        figures = self.per_image()
        shares = {name: figures.pop(name) for name in SHARES}
        found = {name: values.mean() for name, values in figures.items()}
        for name, values in shares.items():
            part = found[f"margin_{name.removesuffix('_share')}"]
            found[f"{name}_median"] = values.nanquantile(0.5)
            found[f"{name}_pooled"] = part / found["margin"]
        return found

    def per_image(self) -> dict[str, Tensor]:
        """``(N,)`` of every figure, over all pictures seen, to be bootstrapped.

        Raises:
            MetricInputError: Before the first `update`.
        """
        parts = self.parts()
        return ablation_figures(
            parts,
            dim_zero_cat(self.labels),
            mean_bias=parts.bias.mean(0),
            margin_of=self._margin_of,
        )

    def parts(self) -> BiasAblation:
        """The split logits of all pictures seen.

        Raises:
            MetricInputError: Before the first `update`.
        """
        if not self.outputs:
            raise MetricInputError("nothing has been measured yet; call update first.")
        out, weight = dim_zero_cat(self.outputs), dim_zero_cat(self.weights)
        return BiasAblation(out, weight, out - weight)
