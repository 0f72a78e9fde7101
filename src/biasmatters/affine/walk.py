"""The walk: bias back-propagation over a recording, once backwards.

At every operation the bias that arrived from above and the bias that the operation itself puts in
(its intercept times the gradient) are added up and handed to the operation's inputs.

    tau = beta + G * intercept
    mixing:  beta_in[q] = sum_p alpha[p, q] tau[p], sum_q alpha[p, q] = 1
    the rest: beta_in goes where the value came from

The engine walks; a rule only splits.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from biasmatters.affine.axis import labels, per_sample, row_sums
from biasmatters.affine.call import Call, finite
from biasmatters.affine.errors import InputError
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.masks import all_present, any_left, left_out, once
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.pieces import pieces
from biasmatters.affine.precision import at_least_single, full_precision
from biasmatters.affine.recording import Recording, Step

Fallback = Literal["uniform", "weight", "drop"]
SplitFunction = Callable[[Mixing, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
Probe = Callable[[str, Mixing, Tensor, Tensor, Tensor | None], None]


@dataclass
class Walk:
    """State of one walk: the rule, the folded slope of the present step and the accounts.

    Attributes:
        split: The rule's split.
        fallback: Where the bias of a unit without any contributing input goes: ``uniform`` over
            its real inputs on the support of the weights, ``weight`` in proportion to ``|W|``, or
            ``drop``: nowhere, and it is reported.
        samples: N.
        probe: Called with every mixing operation, for diagnostics.
        fallback_mass: ``(N,)`` absolute bias that took the fallback.
        dropped: ``(N,)`` bias that was kept out of the map.
    """

    split: SplitFunction
    fallback: Fallback
    samples: int
    like: Tensor
    probe: Probe | None = None
    fallback_mass: Tensor = field(init=False)
    dropped: Tensor = field(init=False)
    _scale: Tensor | None = None
    _axis: int = 0
    _label: str = ""

    def __post_init__(self) -> None:
        self.fallback_mass = torch.zeros_like(self.like)
        self.dropped = torch.zeros_like(self.like)

    def enter(self, step: Step, scale: Tensor | None) -> None:
        """Prepare for one step's pull."""
        self._scale, self._axis, self._label = scale, step.node.axis, step.label

    def mix(
        self,
        mixing: Mixing,
        x: Tensor,
        tau: Tensor,
        axis: int | None = None,
        home: int | None = None,
    ) -> Tensor:
        """Split by the rule; units without any contribution go by the fallback."""
        axis = self._axis if axis is None else axis
        home = axis if home is None else home
        if not bool(x.sum().isfinite()):
            x = finite(x)
        # Under autocast a layer's output, and so its bias, has another dtype than its input.
        dtype = at_least_single(torch.promote_types(x.dtype, tau.dtype))
        x, tau = x.to(dtype), tau.to(dtype)
        scale = None if self._scale is None else self._scale.reshape(tau.shape).to(dtype)
        if self.probe is not None:
            self.probe(self._label, mixing, x, tau, scale)
        beta, live = self.split(mixing, x, tau, scale)
        live = live.to(dtype)
        if _everywhere(live) or not any(any_left(left_out(*p)) for p in pieces(tau, live)):
            return beta
        return beta + self._fall_back(mixing, x, left_out(tau, live), axis, home)

    def spread(self, call: Call, orphan: Tensor) -> tuple[Tensor, ...]:
        """Share the bias of units that have no input evenly over all inputs of the sample."""
        total = per_sample(orphan, self._axis, self.samples)
        self.fallback_mass += per_sample(orphan.abs(), self._axis, self.samples)
        if self.fallback == "drop":
            self.dropped += total
            return tuple(torch.zeros_like(x) for x in call.inputs)
        units = sum(x.numel() for x in call.inputs) / self.samples
        return tuple(
            self._broadcast(total / units, x, axis)
            for x, axis in zip(call.inputs, call.axes, strict=True)
        )

    def _fall_back(
        self, mixing: Mixing, x: Tensor, stranded: Tensor, axis: int, home: int
    ) -> Tensor:
        self.fallback_mass += per_sample(stranded.abs(), axis, self.samples)
        if self.fallback == "drop":
            self.dropped += per_sample(stranded, axis, self.samples)
            return torch.zeros_like(x)
        exponent = 0 if self.fallback == "uniform" else 1
        beta, lost = hand_to_support(mixing, x, stranded, exponent)
        if lost is not None:
            amount = per_sample(lost, axis, self.samples) * self.samples / x.numel()
            beta = beta + self._broadcast(amount, x, home)
        return beta

    def _broadcast(self, values: Tensor, x: Tensor, axis: int) -> Tensor:
        if self.samples == 1:
            return values.reshape(()).expand(x.shape)
        rows = torch.arange(self.samples, device=x.device)
        return values[labels(x.shape, axis, self.samples, rows)].to(x.dtype)


def _everywhere(live: Tensor) -> bool:
    """Whether a mask that shows few numbers in many places is 1 in all of them."""
    few = once(live)
    return few.numel() < live.numel() and all_present(few)


@dataclass(frozen=True)
class WalkResult:
    """Bias maps for the inputs, the walk's accounts, and layer maps on request."""

    maps: tuple[Tensor, ...]
    fallback_mass: Tensor
    dropped: Tensor
    layers: dict[str, Tensor]


def walk(
    recording: Recording,
    split: SplitFunction,
    *,
    fold: bool = True,
    fallback: Fallback = "uniform",
    keep_layers: bool = False,
    probe: Probe | None = None,
    put_in: Container[str] | None = None,
    steps: list[Step] | None = None,
) -> WalkResult:
    """Propagate the bias of a recorded forward pass down to the inputs.

    Args:
        recording: What `record` returned.
        split: The rule's split.
        fold: Whether the slopes after a mixing operation (batch-norm, activation) scale its
            contributions, as if folded into its weights.
        fallback: As in `Walk`.
        keep_layers: Whether to return the bias that arrives at each operation's output.
        probe: Called with every mixing operation.
        put_in: Labels of the operations whose own bias counts; None for all of them.
        steps: Those of a recording without steps of its own. They are taken off the end as the
            walk is done with them, so that their memory is free for what it makes.
    """
    steps = list(recording.steps) if steps is None else steps
    precision = full_precision(recording.output.device)
    with torch.inference_mode(False), torch.no_grad(), precision:
        scales = folded_scales(steps) if fold else {}
        state = Walk(split, fallback, recording.samples, recording.output, probe)
        betas: dict[int, Tensor] = {}
        layers: dict[str, Tensor] = {}
        while steps:
            step = steps.pop()
            scale = scales.pop(len(steps), None)
            own = put_in is None or step.label in put_in
            tau = _total(betas.pop(id(step.output), None), step, own=own)
            if tau is None:
                continue
            if keep_layers:
                layers[step.label] = tau
            hand_on(step, tau, state, None if scale is None else scale(), betas)
        maps = tuple(betas.get(id(x), torch.zeros_like(x)) for x in recording.inputs)
        refuse_nan(maps)
    return WalkResult(maps, state.fallback_mass, state.dropped, layers)


def hand_on(
    step: Step, tau: Tensor, state: Walk, scale: Tensor | None, betas: dict[int, Tensor]
) -> None:
    """Hand one step's bias to its inputs.

    Args:
        step: A recorded operation.
        tau: Like its output.
        state: Of the walk.
        scale: The slope that is folded into it, or None.
        betas: What has arrived at tensors so far, by their id; it is added to.
    """
    state.enter(step, scale)
    for x, beta in zip(step.node.call.inputs, step.form.pull(tau, state), strict=True):
        old, beta = betas.get(id(x)), beta.to(x.dtype)
        betas[id(x)] = beta if old is None else old + beta


def refuse_nan(maps: Iterable[Tensor]) -> None:
    """A map that is not finite is never returned."""
    for values in maps:
        rows = ~row_sums(values).isfinite()
        if bool(rows.any()):
            raise InputError(
                f"The bias map is not finite at sample index {int(rows.nonzero()[0])}: the model "
                "computes with infinities (or with numbers close to them) that no rule can share "
                "out. Use torch.finfo(dtype).min for a mask's -inf, and float32 or float64."
            )


def _total(beta: Tensor | None, step: Step, *, own: bool) -> Tensor | None:
    if not own:
        return beta
    if beta is None or step.grad is None or step.intercept is None:
        return step.injected() if beta is None else beta
    if beta.dtype == step.grad.dtype == step.intercept.dtype:
        return torch.addcmul(beta, step.grad, step.intercept)
    return beta + step.grad * step.intercept


def folded_scales(steps: Sequence[Step]) -> dict[int, Callable[[], Tensor]]:
    """For each mixing step, the product of the slopes that follow it one to one."""
    users = users_of(steps)
    found: dict[int, Callable[[], Tensor]] = {}
    for i, step in enumerate(steps):
        after = one_to_one_after(step, users) if step.form.foldable else []
        slopes = [s.form.slope for s in after if s.form.slope is not None]
        if slopes:
            found[i] = lambda slopes=slopes, out=step.output: _product(slopes, out)  # type: ignore[misc]
    return found


def users_of(steps: Sequence[Step]) -> dict[int, list[Step]]:
    """The steps that take a tensor, by its id."""
    users: dict[int, list[Step]] = {}
    for step in steps:
        for x in step.node.call.inputs:
            users.setdefault(id(x), []).append(step)
    return users


def one_to_one_after(step: Step, users: dict[int, list[Step]]) -> list[Step]:
    """The operations with a slope that alone take a step's output, one behind the other."""
    found: list[Step] = []
    while True:
        following = users.get(id(step.output), [])
        if len(following) != 1 or following[0].form.slope is None:
            return found
        if following[0].output.shape != step.output.shape:
            return found
        step = following[0]
        found.append(step)


def _product(slopes: list[Callable[[], Tensor]], like: Tensor) -> Tensor:
    scale = slopes[0]()
    for slope in slopes[1:]:
        scale = scale * slope()
    return scale.to(like).expand(like.shape)
