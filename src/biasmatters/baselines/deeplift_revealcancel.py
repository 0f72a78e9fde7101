"""DeepLIFT with the RevealCancel rule."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.certify import relative
from biasmatters.affine.modes import without_gradients
from biasmatters.affine.places import arrived, below, output_of, signal_at
from biasmatters.affine.recording import Recording
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.modified_backward import recorded, start
from biasmatters.baselines.reveal_cancel import Pair, PairPull, passage
from biasmatters.types import Attribution, Signal, Target


class DeepLiftRevealCancel:
    """Differences from a reference, positive and negative ones apart; sums to f(x) - f(x0).

    - Linear layers and convolutions: the paper's linear rule (recalled). A contribution
      ``w_i dx_i`` belongs to the positive or the negative difference by its sign; where ``dx_i``
      is 0 both multipliers are averaged.
    - Monotone activations: RevealCancel, as in the paper (recalled). Where one part of the pair is
      0 its multiplier is the derivative at x.
    - Batch-norm and other constant slopes: part of the layer before; the pair passes, swapped by a
      negative slope. Sums, averages, reshapes and concatenations pass each part by itself. Ours.
    - Max-pools: the output's rise is a mixture of the rises of the entry that is largest at x and
      of the one that is largest at x0. Ours; the authors' code is recalled to send all to the
      first, which is not complete.

    Source: Shrikumar, Greenside, Kundaje, ICML 2017 (arXiv 1704.02685).

    Args:
        model: A module in evaluation mode.
        baseline: The reference x0: a number, or a tensor that broadcasts to the input.
    """

    def __init__(self, model: nn.Module, baseline: float | Tensor = 0.0) -> None:
        if not isinstance(baseline, (int, float, Tensor)):
            raise MethodError(
                f"A baseline is a number or a tensor like the input, not {baseline!r}."
            )
        if not bool(torch.as_tensor(baseline).isfinite().all()):
            raise MethodError("The baseline is not finite; give finite numbers.")
        self.model = model
        self.baseline = baseline

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``.

        Raises:
            MethodError: For an operation without a rule, a model that takes another way at the
                reference, or a baseline of another shape.
        """
        recording, reference = self._recorded(x, target)
        leaf = recording.inputs[0]
        with without_gradients():
            one = start(recording)
            found = _shares(recording, reference, one, {id(leaf)}).get(
                id(leaf), torch.zeros_like(leaf)
            )
            total = recording.output - reference.output
            scale = 1 + total.abs() + row_sums(found.abs())
            return Attribution(
                found,
                recording.target,
                (row_sums(found) - total).abs(),
                relative(found.dtype) * scale,
            )

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it.

        The signal is the multipliers of both parts at the start, and what arrives is the
        multipliers times the differences: so it was in the code of Sixt et al., ICML 2020.
        """
        recording, reference = (below(part, start) for part in self._recorded(x, row_sums))
        wanted = {name: id(output_of(recording, name)) for name in layers}
        with without_gradients():
            value = signal_at(recording.steps[-1].output, signal)
            found = _shares(recording, reference, value, wanted.values())
        by_name = {name: found[key] for name, key in wanted.items() if key in found}
        return arrived(by_name, start, layers)

    def _recorded(self, x: Tensor, target: Target) -> tuple[Recording, Recording]:
        """The model at the input and at the reference."""
        recording = recorded(self.model, x, target)
        again = target if callable(target) else recording.target
        reference = recorded(self.model, self._reference(recording.inputs[0].detach()), again)
        _require_same_way(recording, reference)
        return recording, reference

    def _reference(self, x: Tensor) -> Tensor:
        base = torch.as_tensor(self.baseline).detach().to(x)
        try:
            return base.expand_as(x).clone()
        except RuntimeError as error:
            raise MethodError(
                f"A baseline {tuple(base.shape)} does not broadcast to {tuple(x.shape)}; give a "
                "number or one sample."
            ) from error


def _require_same_way(recording: Recording, reference: Recording) -> None:
    here, there = (
        [(step.node.call.op, step.label) for step in part.steps] for part in (recording, reference)
    )
    if here != there:
        first = next(
            (pair for pair in zip(here, there, strict=False) if pair[0] != pair[1]),
            (("the end", ""), ("the end", "")),
        )
        raise MethodError(
            "The model runs other operations at the reference than at the input (first "
            f"'{first[0][0]}' in '{first[0][1]}' against '{first[1][0]}' in '{first[1][1]}'); give "
            "a baseline that takes the same branches."
        )


def _shares(
    recording: Recording, reference: Recording, one: Tensor, wanted: Collection[int]
) -> dict[int, Tensor]:
    """Multipliers times differences at wanted tensors, by their id.

    Args:
        recording: At the input.
        reference: At the reference.
        one: The multipliers of both parts at the last operation's output.
        wanted: The tensors.
    """
    pairs, pulls = _forward(recording, reference)
    multipliers = _backward(recording, pulls, (one, one), wanted)
    return {
        key: up * pairs[key][0] + down * pairs[key][1] for key, (up, down) in multipliers.items()
    }


def _forward(recording: Recording, reference: Recording) -> tuple[dict[int, Pair], list[PairPull]]:
    """The pairs from the input to the output, by tensor; the ways back, in order of execution."""
    rise = recording.inputs[0].detach() - reference.inputs[0].detach()
    pairs = {id(recording.inputs[0]): (rise.clamp_min(0), rise.clamp_max(0))}
    pulls = []
    for step, base in zip(recording.steps, reference.steps, strict=True):
        inputs = [pairs[id(x)] for x in step.node.call.inputs]
        pairs[id(step.output)], pull = passage(step, base, inputs)
        pulls.append(pull)
    return pairs, pulls


def _backward(
    recording: Recording, pulls: list[PairPull], at_end: Pair, wanted: Collection[int]
) -> dict[int, Pair]:
    """Carry the multipliers from the output down; those at wanted tensors, by their id."""
    multipliers, found = {id(recording.steps[-1].output): at_end}, {}
    for step, pull in zip(reversed(recording.steps), reversed(pulls), strict=True):
        here = multipliers.pop(id(step.output), None)
        if here is None:
            continue
        if id(step.output) in wanted:
            found[id(step.output)] = here
        for x, part in zip(step.node.call.inputs, pull(here), strict=True):
            old = multipliers.get(id(x))
            multipliers[id(x)] = part if old is None else (old[0] + part[0], old[1] + part[1])
    return found | multipliers
