"""Bias back-propagation as an attribution method of Captum.

Example:
    >>> import torch
    >>> from captum.attr import NoiseTunnel
    >>> from captum.metrics import infidelity, infidelity_perturb_func_decorator
    >>> from biasmatters.captum import BiasBackprop
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> x, target = torch.randn(5, 4), [0, 1, 2, 0, 1]

    The bias alone, and the whole output; both say by how much they miss their total.

    >>> bias, delta = BiasBackprop(net).attribute(x, target, return_convergence_delta=True)
    >>> bias.shape, bool(delta.abs().max() < 1e-6)
    (torch.Size([5, 4]), True)
    >>> method = BiasBackprop(net, rule="uniform", part="both")
    >>> whole = method.attribute(x, target)
    >>> torch.allclose(whole.sum(1), net(x).gather(1, torch.tensor(target)[:, None])[:, 0])
    True

    Smoothed by a noise tunnel, and scored by leaving features out.

    >>> smooth = NoiseTunnel(method).attribute(x, nt_samples=4, stdevs=0.1, target=target)
    >>> smooth.shape
    torch.Size([5, 4])
    >>> @infidelity_perturb_func_decorator(multiply_by_inputs=True)
    ... def leave_out(inputs):
    ...     return inputs * (torch.rand_like(inputs) > 0.5)
    >>> infidelity(net, leave_out, x, whole, target=target).shape
    torch.Size([5])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from captum.attr import GradientAttribution
from torch import Tensor

from biasmatters.affine.axis import add_up, row_sums
from biasmatters.affine.errors import InputError
from biasmatters.affine.guard import check_inputs
from biasmatters.affine.local import local_affine
from biasmatters.affine.walker import Fallback
from biasmatters.attribution import bias_backprop
from biasmatters.attribution.chunks import argument_rows, arguments, chunks, target_rows
from biasmatters.attribution.parts import Part, checked_part
from biasmatters.rules import Rule, make_rule
from biasmatters.types import Target

__all__ = ["BiasBackprop"]

P = ParamSpec("P")
R = TypeVar("R")


def _wrapped(method: Callable[P, R]) -> Callable[P, R]:
    """A method that has ``__wrapped__``, by which Captum's noise tunnel calls it."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(*args, **kwargs)

    return call


class BiasBackprop(GradientAttribution):  # type: ignore[misc]
    """The bias of the local affine form ``f(x') = w . x' + b``, attributed to the inputs.

    Args:
        forward_func: A module in evaluation mode, or any function of tensors.
        rule: How a unit's bias is split over its inputs: a name or any `biasmatters.Rule`.
        temperature: Of the softmax rules given by name.
        fold: As in `biasmatters.BiasBackprop`.
        fallback: As in `biasmatters.BiasBackprop`.
        part: ``bias`` for the bias map alone, which sums to b; ``both`` for ``w * x`` plus the
            bias map, which sums to the explained output f(x).
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        rule: str | Rule = "softmax_neg_abs",
        temperature: float = 1.0,
        fold: bool = True,
        fallback: Fallback = "uniform",
        *,
        part: Part = "bias",
    ) -> None:
        super().__init__(forward_func)
        self.rule = make_rule(rule, temperature)
        self.fold = fold
        self.fallback: Fallback = fallback
        self.part = checked_part(part)
        self._engine()  # refuses what does not fit here, not at the first use

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: both maps are shares of the output, not gradients."""
        return True

    def has_convergence_delta(self) -> bool:
        """True: the maps have a total to reach."""
        return True

    @_wrapped
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: bool = False,
        internal_batch_size: int | None = None,
    ) -> Any:
        """The map of each sample.

        Args:
            inputs: ``(N, *features)``, or a tuple of such tensors.
            target: A class, a list, tensor or array of one for each sample; for outputs of more
                axes a tuple of indices, the same for all samples, or a list of such tuples; or a
                callable that maps the output to ``(N,)``. None is the predicted class. A noise
                tunnel repeats lists and tensors for its draws, but not arrays; with None each of
                its draws has its own class.
            additional_forward_args: Passed on to the model after the inputs: one argument or a
                tuple; the first axis of a tensor ``(N, ...)`` are the samples.
            return_convergence_delta: Whether to return ``sum of the map - total`` as well,
                ``(N,)``, positive where the map gives out too much. The total is b, or f(x) for
                ``part="both"``.
            internal_batch_size: Samples explained at a time, None for all.

        Returns:
            The map like the inputs (a tuple for a tuple), with the deltas if asked for.

        Raises:
            InputError, TrainingModeError, UnsupportedOperationError: With what to do next.
        """
        xs = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(xs)
        extra = arguments(additional_forward_args)
        samples = xs[0].shape[0]
        plain = _plain(target, samples)
        found = [
            self._explain(
                tuple(x[rows] for x in xs),
                _cut(plain, rows, samples),
                argument_rows(extra, rows, samples),
            )
            for rows in chunks(samples, internal_batch_size)
        ]
        joined = tuple(torch.cat(parts) for parts in zip(*(maps for maps, _ in found), strict=True))
        result = joined if isinstance(inputs, tuple) else joined[0]
        if return_convergence_delta:
            return result, torch.cat([delta for _, delta in found])
        return result

    @_wrapped
    def compute_convergence_delta(
        self,
        attributions: Tensor | tuple[Tensor, ...],
        start_point: None,
        end_point: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """By how much maps exceed the total they should reach, ``(N,)``.

        Args:
            attributions: Maps like the inputs.
            start_point: None; it has the place of Captum's baseline, and these maps have none.
            end_point: The inputs.
            target: As in `attribute`.
            additional_forward_args: As in `attribute`.

        Raises:
            InputError: For a baseline.
        """
        if start_point is not None:
            raise InputError("Bias maps have no baseline; give None as the start point.")
        xs = end_point if isinstance(end_point, tuple) else (end_point,)
        check_inputs(xs)
        form = local_affine(
            self.forward_func,
            xs,
            _selector(_plain(target, xs[0].shape[0])),
            additional_forward_args=arguments(additional_forward_args),
        )
        maps = attributions if isinstance(attributions, tuple) else (attributions,)
        return _total(maps) - (form.bias if self.part == "bias" else form.output)

    def _engine(self) -> bias_backprop.BiasBackprop:
        """The method itself, made anew so that it follows a changed ``forward_func``."""
        return bias_backprop.BiasBackprop(
            self.forward_func, self.rule, fold=self.fold, fallback=self.fallback
        )

    def _explain(
        self, xs: tuple[Tensor, ...], target: Target, extra: tuple[Any, ...]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The maps of one chunk with their deltas."""
        found = self._engine().propagate(xs, _selector(target), extra)
        maps, total = found.walk.maps, found.bias
        if self.part == "both":
            weights, total = found.point.weights, found.point.output
            maps = tuple(w * x.detach() + m for w, x, m in zip(weights, xs, maps, strict=True))
        return maps, _total(maps) - total


def _total(maps: tuple[Tensor, ...]) -> Tensor:
    """The sum of all maps of a sample, ``(N,)``."""
    return add_up([row_sums(m) for m in maps])


def _plain(target: Any, samples: int) -> Any:
    """A target without arrays, whose count fits.

    Raises:
        InputError: If it has more than one entry, and not one for each sample.
    """
    target = target.tolist() if isinstance(target, np.ndarray) else target
    several = isinstance(target, list) or (isinstance(target, Tensor) and target.ndim > 0)
    single = several and len(target) == 1 and not isinstance(target[0], tuple)
    if several and not single and len(target) != samples:
        raise InputError(
            f"Got {len(target)} targets for {samples} samples; give one class, or one for each "
            "sample (to a noise tunnel as a list or a tensor, which it repeats for its draws)."
        )
    return target


def _selector(target: Any) -> Target:
    """Captum's indices into outputs of several axes as callables, other targets as they are."""
    if isinstance(target, tuple):
        return _picker((slice(None), *target), target)
    if isinstance(target, list) and target and isinstance(target[0], tuple):
        try:
            columns = torch.tensor(target).T
        except (TypeError, ValueError) as error:
            raise InputError(f"Give each sample as many indices, not {target!r}.") from error
        return _picker((torch.arange(len(target)), *columns), target)
    return target  # type: ignore[no-any-return]


def _picker(index: tuple[Any, ...], target: Any) -> Callable[[Tensor], Tensor]:
    """A callable target that picks one number for each sample."""

    def pick(output: Tensor) -> Tensor:
        try:
            return output[index]
        except (IndexError, TypeError) as error:
            raise InputError(
                f"The target {target!r} is no index into an output of shape "
                f"{tuple(output.shape)} behind its first axis; a tuple is the index of one output "
                "for all samples, classes of each sample come as a list."
            ) from error

    return pick


def _cut(target: Any, rows: slice, samples: int) -> Any:
    """The part that belongs to some samples of a target with an entry for each."""
    if isinstance(target, list) and target and isinstance(target[0], tuple):
        return target[rows] if len(target) == samples else target
    return target if isinstance(target, tuple) else target_rows(target, rows, samples)
