"""Thin torchmetrics over the functions: they gather one figure, or one curve, per picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional import Curve, MetricInputError


class PerImage(Metric):
    """Gathers one figure per picture; a subclass names its function.

    Args:
        bound: The function's first arguments, such as the model, given once; what follows them
            comes with `update`. Modules are not registered as submodules.
        settings: Keywords of the function, and those of `torchmetrics.Metric`.
    """

    function: ClassVar[Callable[..., Any]]
    full_state_update: bool = False
    is_differentiable: bool = False
    values: list[Tensor]

    def __init__(self, *bound: Any, **settings: Any) -> None:
        own = set(signature(self.function).parameters)
        super().__init__(**{name: v for name, v in settings.items() if name not in own})
        given = {name: v for name, v in settings.items() if name in own}
        self._measure = partial(self.function, *bound, **given)
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, *args: Any, **more: Any) -> None:
        """Measure a batch: the function's arguments after those bound."""
        self.values.append(self._measure(*args, **more))

    def compute(self) -> Tensor:
        """Mean over all pictures seen, a scalar."""
        return self.per_image().mean()

    def per_image(self) -> Tensor:
        """``(N,)``, the figure of every picture seen, to be bootstrapped.

        Raises:
            MetricInputError: Before the first `update`.
        """
        if not self.values:
            raise MetricInputError("nothing has been measured yet; call update first.")
        return dim_zero_cat(self.values)


class PerImageCurve(PerImage):
    """Gathers one curve per picture, so that areas, mean curves and intervals can be made of it."""

    targets: list[Tensor]

    def __init__(self, *bound: Any, **settings: Any) -> None:
        super().__init__(*bound, **settings)
        self._fractions: Tensor | None = None
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, *args: Any, **more: Any) -> None:
        """Measure a batch: the function's arguments after those bound."""
        found: Curve = self._measure(*args, **more)
        self._fractions = found.fractions
        self.values.append(found.scores)
        self.targets.append(found.target)

    def compute(self) -> Tensor:
        """Mean area under the curve, a scalar."""
        return self.curve().auc.mean()

    def curve(self) -> Curve:
        """The curves of all pictures seen.

        Raises:
            MetricInputError: Before the first `update`.
        """
        scores = self.per_image()
        if self._fractions is None:
            raise MetricInputError("nothing has been measured yet; call update first.")
        return Curve.of(self._fractions.to(scores.device), scores, dim_zero_cat(self.targets))
