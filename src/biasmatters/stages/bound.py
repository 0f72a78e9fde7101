"""A method as metrics ask it again: on the trained network, or on another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biasmatters.attribution import reduce_channels
from biasmatters.data.images import ImageData
from biasmatters.stages.attribute import fitted
from biasmatters.stages.spec import MethodSpec

Explain = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Bound:
    """Binds a method to networks, fitted where it has to be.

    Attributes:
        method: Which method.
        data: Whose training images it is fitted on.
        batch_size: Images that are explained at once.
    """

    method: MethodSpec
    data: ImageData
    batch_size: int

    def __call__(self, model: nn.Module) -> Explain:
        """What explains classes ``(N,)`` of ``x (N, C, H, W)`` by maps ``(N, H, W)``."""
        attributor = fitted(self.method.part.make(model), self.data, self.batch_size, model)

        def explain(x: Tensor, target: Tensor) -> Tensor:
            found = []
            with torch.inference_mode(False), torch.enable_grad():
                for rows in torch.arange(len(x)).split(self.batch_size):  # type: ignore[no-untyped-call]
                    made = attributor.explain(x[rows], target[rows]).single.detach()
                    found.append(reduce_channels(made, self.method.reduction))
            return torch.cat(found)

        return explain
