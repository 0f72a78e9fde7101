"""Bias back-propagation as an attributor of Zennit (``pip install 'biasmatters[zennit]'``).

Example:
    >>> import torch
    >>> from biasmatters.zennit import BiasAttributor
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> x, one_hot = torch.randn(2, 4), torch.eye(3)[[0, 2]]
    >>> with BiasAttributor(net, rule="proportional", part="both") as attributor:
    ...     output, relevance = attributor(x, one_hot)
    >>> output.shape, relevance.shape
    (torch.Size([2, 3]), torch.Size([2, 4]))

    Nothing is lost to the biases: the relevance sums to the logits.

    >>> torch.allclose(relevance.sum(1), (output * one_hot).sum(1), atol=1e-6)
    True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError
from biasmatters.affine.guard import check_inputs
from biasmatters.affine.walker import Fallback
from biasmatters.attribution.parts import Part, method_for
from biasmatters.baselines.libraries import library
from biasmatters.rules import Rule

__all__ = ["BiasAttributor"]

_Attributor: Any = library("zennit.attribution", "zennit").Attributor


class BiasAttributor(_Attributor):  # type: ignore[misc]
    """The bias of ``<attr_output, model(x)>``, attributed to the input.

    ``attr_output`` counts as constant: a one-hot row gives the map of that class, twice the row
    twice the map, and the map of a sum is the sum of the maps (but for ``softmax_signed``, which
    looks at the sign of each unit's bias). Left out it is the output itself, as in Zennit.

    Args:
        model: A module in evaluation mode.
        composite: None; rules of a composite replace gradients, which this method does not use.
        attr_output: What to explain where a call does not say: a number, a tensor that broadcasts
            to the output, or a function of the output that returns one.
        rule: How a unit's bias is split over its inputs: a name or any `biasmatters.Rule`.
        temperature: Of the softmax rules given by name.
        fold: As in `biasmatters.BiasBackprop`.
        fallback: As in `biasmatters.BiasBackprop`.
        part: ``bias`` for the bias map alone; ``both`` for gradient times input plus the bias map,
            which sums to ``<attr_output, model(x)>``.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: None = None,
        attr_output: float | Tensor | Callable[[Tensor], Any] | None = None,
        *,
        rule: str | Rule = "softmax_neg_abs",
        temperature: float = 1.0,
        fold: bool = True,
        fallback: Fallback = "uniform",
        part: Part = "bias",
    ) -> None:
        if composite is not None:
            raise InputError(
                f"BiasAttributor takes no composite, got a {type(composite).__name__}: bias "
                "back-propagation records the model's own operations. Leave it out, and give rule=."
            )
        self.method = method_for(part, model, rule, temperature, fold, fallback)
        super().__init__(model, None, attr_output)

    def forward(
        self,
        input: Tensor,  # noqa: A002 - Zennit's name
        attr_output_fn: Callable[[Tensor], Any],
    ) -> tuple[Tensor, Tensor]:
        """The model's output and the attribution, from one forward pass.

        Args:
            input: ``(N, *features)``.
            attr_output_fn: Maps the output to what weighs it.

        Returns:
            The output ``(N, ...)`` without a graph, and the attribution like the input.

        Raises:
            InputError, TrainingModeError, UnsupportedOperationError: With what to do next.
        """
        check_inputs((input,))
        seen: list[Tensor] = []

        def explained(output: Tensor) -> Tensor:
            seen.append(output.detach())
            return _product(output, attr_output_fn(output.detach().clone()), input.shape[0])

        found = self.method.explain(input.detach(), explained)
        return seen[0], cast(Tensor, found.map)


def _product(output: Tensor, weight: Any, samples: int) -> Tensor:
    """``<weight, output>`` of each sample, ``(N,)``.

    As a matrix product, whose one unit has no bias to split: weights on the outputs one by one
    would be folded into the last layer, and change how the rule sees it.
    """
    if output.ndim == 0 or output.shape[0] != samples:
        raise InputError(
            f"The model gave an output of shape {tuple(output.shape)} for {samples} samples; its "
            "first axis must be the samples."
        )
    weight = torch.as_tensor(weight, dtype=output.dtype, device=output.device).detach()
    try:
        weight = weight.expand(output.shape)
    except RuntimeError as error:
        raise InputError(
            f"attr_output has shape {tuple(weight.shape)} and the output {tuple(output.shape)}; "
            "give a tensor like the output, e.g. a one-hot row for each sample."
        ) from error
    size = output.shape[1:].numel()
    rows, columns = output.reshape(samples, 1, size), weight.reshape(samples, size, 1)
    return torch.bmm(rows, columns).reshape(samples)
