"""DeepLIFT with the Rescale rule, by Captum."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.places import arrived, below, captured, signal_at
from biasmatters.affine.recording import Step
from biasmatters.baselines.conservation import ConservationWarning
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.modified_backward import recorded
from biasmatters.baselines.question import Question, asking
from biasmatters.baselines.settings import finite
from biasmatters.types import INPUT, Attribution, Signal, Target

# Share of 1 + |f(x) - f(r)| that round-off may explain in float32.
ROUND_OFF = 1e-3
_HOOKED = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "max_pool1d": nn.MaxPool1d,
    "max_pool2d": nn.MaxPool2d,
    "max_pool3d": nn.MaxPool3d,
}


class DeepLiftRescale:
    """Differences from a baseline, handed back through each activation by its secant's slope.

        m = (f(z) - f(z_r)) / (z - z_r)

    Sums to f(x) - f(r). A softmax is refused: Captum's rule for it mixes the samples of a batch.
    Captum multiplies at modules of known activations, each run once; whatever
    else is not linear it passes as the gradient does, and the sum is lost. That is refused here,
    by the operation's name, and the sum is checked.

    Source: Shrikumar, Greenside, Kundaje, ICML 2017 (arXiv 1704.02685); implementation: Captum.

    Args:
        model: A module in evaluation mode, with each activation a module of its own.
        baseline: Value of every feature of the baseline r.
    """

    def __init__(self, model: nn.Module, baseline: float = 0.0) -> None:
        self.model = model
        self.baseline = finite("baseline", baseline)

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``.

        Raises:
            MethodError: For a model on which Captum's rule would be lost at an operation.
        """
        with asking(self.model, x, target) as question:
            target = question.classes("DeepLIFT")
            if not len(target):
                return question.answer(question.x)
            steps = recorded(question.model, question.x[:1], target[:1]).steps
            _refuse_missed(question.model, steps)
            reference = self._reference(question)
            with torch.no_grad():
                rise = question.value(question.x.clone()) - question.value(reference)
            found = _run(question.model, question.x, reference, question.target)
            answer = question.answer(found, rise, ROUND_OFF * (1 + rise.abs()))
        if answer.complete is False:
            _tell(answer, steps)
        return answer

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it.

        The signal is the multipliers at the start, and what arrives is the multipliers times the
        difference to the baseline: so it was in the code of Sixt et al., ICML 2020.
        """
        with asking(self.model, x, row_sums) as question:
            steps = below(recorded(question.model, question.x[:1], row_sums), start).steps
            _refuse_missed(question.model, steps)
            part = _Part(question.model, start, signal, layers)
            made = _run(part, question.x, self._reference(question), None)
            return arrived(part.found | {INPUT: made}, start, layers)

    def _reference(self, question: Question) -> Tensor:
        return torch.full_like(question.x, self.baseline)


class _Part(nn.Module):
    """The model up to a layer, as one number for each row: the multipliers there are a signal.

    Attributes:
        found: By layer, multipliers times differences, once the gradient has come by.
    """

    def __init__(self, model: nn.Module, start: str, signal: Signal, layers: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.found: dict[str, Tensor] = {}
        self._start, self._signal, self._layers = start, signal, layers

    def forward(self, both: Tensor) -> Tensor:
        """``(2 N,)`` of the inputs, and of their baselines behind them."""
        names = {self._start, *self._layers} - {INPUT}
        with captured(self.model, names, self._watch) as outputs:
            self.model(both)
        if self._start not in outputs:
            raise MethodError(f"The model does not run '{self._start}'.")
        top = outputs[self._start]
        value = signal_at(top[: len(top) // 2], self._signal)
        return row_sums(top * torch.cat([value, value]))

    def _watch(self, name: str, output: Tensor) -> Tensor:
        """Take down the multipliers that come by an output.

        Captum changes them by hooks on the input of an activation, and an activation itself takes
        those from before such a change where another one follows it at once.
        """
        here, there = output.detach().chunk(2)

        def keep(multipliers: Tensor) -> None:
            self.found[name] = multipliers[: len(here)] * (here - there)

        output.register_hook(keep)  # type: ignore[no-untyped-call]
        activates = isinstance(self.model.get_submodule(name), tuple(_HOOKED.values()))
        return output if activates else output.clone()


def _run(model: nn.Module, x: Tensor, reference: Tensor, target: Tensor | None) -> Tensor:
    from captum.attr import DeepLift

    with warnings.catch_warnings():
        # Captum tells of the hooks that it sets and takes away again.
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        found: Tensor = DeepLift(model).attribute(
            x.clone().requires_grad_(), baselines=reference, target=target
        )
    return found


def _refuse_missed(model: nn.Module, steps: Sequence[Step]) -> None:
    missed = _missed(model, steps)
    if missed:
        raise MethodError(
            f"DeepLIFT (Rescale, by Captum) would lose its sum at {', '.join(missed[:5])}"
            f"{' and others' if len(missed) > 5 else ''}: it knows activations only as modules "
            "(nn.ReLU, not F.relu), each run once. Write the model so, or take "
            "deeplift_revealcancel or integrated_gradients."
        )


def _missed(model: nn.Module, steps: Sequence[Step]) -> list[str]:
    """Operations that Captum's hooks do not meet, and modules that it meets twice."""
    modules = dict(model.named_modules())
    runs: dict[str, int] = {}
    found: list[str] = []
    for step in steps:
        call = step.node.call
        if step.form.exact and step.form.gap is None:  # linear
            continue
        if not isinstance(modules.get(call.name), _HOOKED.get(call.op, ())):
            found.append(f"'{call.op}' in '{call.name or 'the model'}'")
            continue
        runs[call.name] = runs.get(call.name, 0) + 1
        if runs[call.name] == 2:
            found.append(f"'{call.name}', which is run more than once")
    return found


def _tell(answer: Attribution, steps: Sequence[Step]) -> None:
    """Say where the sum is lost although every operation was met: at pools, as far as known."""
    pools = [step.label for step in steps if "max_pool" in step.node.call.op]
    where = f", probably at the max-pools {', '.join(pools)}, whose rule in Captum" if pools else ""
    why = " does not keep the sum where the largest entry changes" if pools else ""
    warnings.warn(
        f"DeepLIFT (Rescale, by Captum) misses its total by up to "
        f"{float(answer.residual.max()):.3g}{where}{why}; deeplift_revealcancel keeps it.",
        ConservationWarning,
        stacklevel=3,
    )
