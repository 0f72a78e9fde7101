"""Bias back-propagation: the bias of the local affine form, attributed to the input's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from biasmatters.affine.axis import row_sums
from biasmatters.affine.certify import certify, linear_part
from biasmatters.affine.descent import descent
from biasmatters.affine.errors import InputError
from biasmatters.affine.guard import check_inputs
from biasmatters.affine.recording import Options, Point, Recording, Step, record
from biasmatters.affine.target import OutputSelector
from biasmatters.affine.walk import WalkResult, walk
from biasmatters.affine.walker import Fallback, Probe, SplitFunction
from biasmatters.attribution.chunks import argument_rows, arguments, chunks, target_rows
from biasmatters.attribution.entropy import EntropyProbe
from biasmatters.attribution.profile import Profiler
from biasmatters.attribution.propagation import CertifiedPropagation, Propagation
from biasmatters.rules import Rule, SplitsBent, SplitsBranches, make_rule
from biasmatters.types import Attribution, Signal, Target


class BiasBackprop:
    """Attributes ``b = f(x) - w . x`` to the features of x, so that the map sums to b.

        beta_{l-1}[q] = sum_p alpha_l[p, q] beta_l[p] + G_{l-1}[q] b_{l-1}[q]

    Source: Wang, Zhou, Bilmes, *Bias Also Matters*, ICML 2019.

    Args:
        model: A module in evaluation mode, or any function of tensors.
        rule: How a unit's bias is split over its inputs: a name or any `Rule`.
        temperature: T of the softmax rules given by name.
        fold: Whether batch-norm and activation slopes scale the contributions that a rule sees,
            as if folded into the weights; if not they are layers of their own.
        fallback: Where the bias of a unit without any contributing input goes: ``uniform`` over
            its inputs, in proportion to ``weight``, or ``drop``.
        output: Which part of a structured output to explain.
        eval_mode: Whether to evaluate a model in training mode under ``eval()``.
        freeze_attention: Whether attention weights count as constants, in
            ``F.scaled_dot_product_attention`` and ``nn.MultiheadAttention`` (not in attention
            that a model writes out itself).

    Example:
        >>> import torch, biasmatters as bm
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> bm.BiasBackprop(net, rule="proportional").explain(torch.ones(2, 4), 1).complete
        True
    """

    def __init__(
        self,
        model: Callable[..., Any],
        rule: str | Rule = "softmax_neg_abs",
        temperature: float = 1.0,
        fold: bool = True,
        fallback: Fallback = "uniform",
        *,
        output: OutputSelector = None,
        eval_mode: bool = False,
        freeze_attention: bool = False,
    ) -> None:
        if fallback not in ("uniform", "weight", "drop"):
            raise InputError(f"Unknown fallback '{fallback}'; choose uniform, weight or drop.")
        self.model = model
        self.rule = make_rule(rule, temperature)
        self.fold = fold
        self.fallback: Fallback = fallback
        self.options = Options((), output, eval_mode, freeze_attention, autograd=False)

    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = (),
        *,
        return_convergence_delta: bool = False,
        internal_batch_size: int | None = None,
    ) -> Any:
        """The bias map, in Captum's shape of call.

        Args:
            inputs: ``(N, *features)``, or a tuple.
            target: As in `biasmatters.local_affine`.
            additional_forward_args: Passed on to the model: a tuple, or a single argument.
            return_convergence_delta: Whether to return ``sum of the map - b`` as well, ``(N,)``;
                what ``fallback="drop"`` kept out of the map counts as given.
            internal_batch_size: Samples explained at a time.

        Returns:
            The map like the inputs (a tuple for a tuple), with the deltas if asked for.
        """
        several = isinstance(inputs, tuple)
        xs = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(xs)
        samples, given = xs[0].shape[0], arguments(additional_forward_args)
        maps: list[tuple[Tensor, ...]] = []
        deltas: list[Tensor] = []
        for rows in chunks(samples, internal_batch_size):
            part = target_rows(target, rows, samples)
            extra = argument_rows(given, rows, samples)
            found = self.propagate(tuple(x[rows] for x in xs), part, extra)
            maps.append(found.walk.maps)
            deltas.append(found.delta)
        joined = tuple(torch.cat(parts) for parts in zip(*maps, strict=True))
        result = joined if several else joined[0]
        return (result, torch.cat(deltas)) if return_convergence_delta else result

    def explain(
        self,
        x: Tensor | tuple[Tensor, ...],
        target: Target = None,
        *,
        layers: bool = False,
        diagnostics: bool = False,
        profile: bool = False,
    ) -> Attribution:
        """The bias map with its residual and certificate.

        Args:
            x: ``(N, *features)``, or a tuple for several inputs.
            target: As in `biasmatters.local_affine`.
            layers: Whether to return the bias that arrives at each operation.
            diagnostics: Whether to measure the margin and the mean row entropy of alpha for each
                layer (nats); costs one direct pass over all connections.
            profile: Whether to time each layer and say by which form its rule went.

        Raises:
            InputError: For diagnostics and profile together, which would time each other.
        """
        if diagnostics and profile:
            raise InputError("Ask for diagnostics and profile in two calls: one would time both.")
        probe = EntropyProbe(self.rule) if diagnostics else None
        profiler = Profiler(self.rule) if profile else None
        inputs = x if isinstance(x, tuple) else (x,)
        found = self.certified(
            inputs,
            target,
            layers=layers,
            probe=profiler.enter if profiler else probe,
            split=profiler.split if profiler else None,
            measure_margin=diagnostics,
        )
        return Attribution(
            map=found.walk.maps if isinstance(x, tuple) else found.walk.maps[0],
            target=found.point.target,
            residual=found.delta.abs(),
            tolerance=found.certificate.tolerance,
            certificate=found.certificate,
            layers=found.walk.layers,
            diagnostics=probe.means() if probe is not None else {},
            profile=profiler.costs() if profiler is not None else (),
        )

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it: the downward map alone, without the model's bias.

        A signal at a unit that is 0, or is 0 after the ReLU behind it, is left out: the recursion
        brings none there. With a rule that does not look at the sign of the bias, and without such
        units, this is a product of matrices alpha, whose rows sum to 1.
        """
        recording = record(self.model, (x,), row_sums, self.options)
        return descent(
            recording,
            self.rule.split,
            start,
            signal,
            layers,
            fold=self.fold,
            fallback=self.fallback,
        )

    def propagate(
        self, inputs: tuple[Tensor, ...], target: Target = None, extra: tuple[Any, ...] = ()
    ) -> Propagation:
        """One recording with the walk over it, for methods that need no certificate.

        Args:
            inputs: Each ``(N, *features)``.
            target: As in `biasmatters.local_affine`.
            extra: Further positional arguments of the model.
        """
        recording = self._record(inputs, target, extra)
        point, steps = recording.point, list(recording.steps)
        del recording  # only the list holds the steps now, and the walk lets them go
        return Propagation(point, self._walk(point, steps), linear_part(point))

    def certified(
        self,
        inputs: tuple[Tensor, ...],
        target: Target = None,
        extra: tuple[Any, ...] = (),
        *,
        layers: bool = False,
        probe: Probe | None = None,
        split: SplitFunction | None = None,
        measure_margin: bool = False,
        keep: bool = False,
    ) -> CertifiedPropagation:
        """The same with a certificate, for methods that build on both.

        Args:
            inputs: As in `propagate`.
            target: Likewise.
            extra: Likewise.
            layers: Whether to keep the bias that arrives at each operation.
            probe: Called with every mixing operation.
            split: In place of the rule's own.
            measure_margin: As in `biasmatters.affine.certify.certify`.
            keep: Whether to keep the recording, which holds all activations.
        """
        recording = self._record(inputs, target, extra)
        ledger = recording.ledger()
        linear = linear_part(recording)
        bias = recording.output - linear
        certificate = certify(recording, ledger, bias, measure_margin=measure_margin)
        point, steps = recording.point, list(recording.steps)
        kept = recording if keep else None
        del recording  # only the list holds the steps now, and the walk lets them go
        found = self._walk(point, steps, layers=layers, probe=probe, split=split)
        certificate = replace(certificate, fallback_mass=found.fallback_mass)
        return CertifiedPropagation(point, found, linear, ledger, certificate, kept)

    def _record(
        self, inputs: tuple[Tensor, ...], target: Target, extra: tuple[Any, ...]
    ) -> Recording:
        options = replace(self.options, args=extra) if extra else self.options
        return record(self.model, inputs, target, options)

    def _walk(
        self,
        point: Point,
        steps: list[Step],
        *,
        layers: bool = False,
        probe: Probe | None = None,
        split: SplitFunction | None = None,
    ) -> WalkResult:
        branches, bent, kind = None, None, type(self.rule)
        if split is None and _with_split(kind, "split_branches"):
            branches = cast(SplitsBranches, self.rule).split_branches
        if split is None and _with_split(kind, "split_bent"):
            bent = cast(SplitsBent, self.rule).split_bent
        return walk(
            point,
            steps,
            split or self.rule.split,
            fold=self.fold,
            fallback=self.fallback,
            keep_layers=layers,
            probe=probe,
            branches=branches,
            bent=bent,
        )


@lru_cache(maxsize=64)
def _with_split(kind: type[Rule], name: str) -> bool:
    """Whether one class has a rule's split and another method: neither is overridden."""
    homes = [next((c for c in kind.__mro__ if n in vars(c)), None) for n in ("split", name)]
    return homes[0] is not None and homes[0] is homes[1]
