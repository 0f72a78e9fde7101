"""The nouns that every room shares.

Shapes: ``N`` samples; an input is ``(N, *features)``, a network's output ``(N, classes)``.
Units: a bias share, a residual and a fallback mass are in units of the explained output (a logit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["exact", "first-order"]
Reduction = Literal["sum", "abs_sum", "abs_max", "norm"]
Better = Literal["high", "low", ""]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
Target = int | Tensor | Sequence[Any] | Callable[[Tensor], Tensor] | None


class BiasmattersError(Exception):
    """Base of every error that this library raises on purpose; its text says what to do next."""


@dataclass(frozen=True)
class LedgerRow:
    """The share of the bias that one recorded operation puts in.

    Attributes:
        name: Qualified name of the module that ran the operation (``layer1.0.conv1``), with a
            counter when the same module runs several.
        kind: ``mixing``, ``elementwise``, ``routing`` or ``smooth``.
        op: Name of the torch function, e.g. ``conv2d``.
        share: ``(N,)`` inner product of the output's gradient with the operation's intercept.
    """

    name: str
    kind: str
    op: str
    share: Tensor


@dataclass(frozen=True)
class Ledger:
    """Where the bias of a local affine form comes from: one row per recorded operation."""

    rows: tuple[LedgerRow, ...]

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def total(self) -> Tensor:
        """Sum of all shares, ``(N,)``: the bias, found without looking at f - w.x."""
        return self._shares.sum(0)

    def absolute(self) -> Tensor:
        """Sum of the absolute shares, ``(N,)``: the scale that round-off is judged by."""
        return self._shares.abs().sum(0)

    @cached_property
    def _shares(self) -> Tensor:
        return torch.stack([row.share for row in self.rows])

    def to_pandas(self) -> pd.DataFrame:
        """One line per operation and sample: ``name, kind, op, sample, share``."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"name": r.name, "kind": r.kind, "op": r.op, "sample": i, "share": float(s)}
                for r in self.rows
                for i, s in enumerate(r.share.tolist())
            ],
            columns=["name", "kind", "op", "sample", "share"],
        )


def _largest(values: Tensor) -> float:
    """The largest of some numbers, NaN of none."""
    return float(values.max()) if values.numel() else float("nan")


@dataclass(frozen=True)
class Certificate:
    """How exact a local affine form, and a map made from it, is.

    Attributes:
        verdict: ``exact`` where every operation is piecewise linear, else ``first-order``. It
            says what kind of operations were met; that the form is right is said by `passed`.
        first_order_ops: The operations that are only linearised, as ``name (op)``.
        residual: ``(N,)`` |ledger total - (f - w.x)|, two sums that share no term.
        tolerance: ``(N,)`` the residual that round-off explains, in the same units.
        margin: ``(N,)`` smallest distance of a pre-activation to a boundary of its linear
            piece (of the two largest entries of a max window), in units of that activation; NaN
            where it was not measured.
        fallback_mass: ``(N,)`` sum of |bias| that met units without any contributing input
            and was split by the named fallback; mass that meets k such layers counts k times.
        injected_mass: ``(N,)`` sum of the absolute bias terms put in; the scale of the above.
    """

    verdict: Verdict
    first_order_ops: tuple[str, ...]
    residual: Tensor
    tolerance: Tensor
    margin: Tensor
    fallback_mass: Tensor
    injected_mass: Tensor

    def __str__(self) -> str:
        names = f" ({', '.join(self.first_order_ops)})" if self.first_order_ops else ""
        return (
            f"{self.verdict}{names}, {'passed' if self.passed else 'FAILED'}: "
            f"largest residual {_largest(self.residual):.1e}, "
            f"smallest margin {-_largest(-self.margin):.1e}"
        )

    @property
    def passed(self) -> bool:
        """Whether every sample's residual lies within its tolerance."""
        return bool((self.residual <= self.tolerance).all())

    @property
    def fallback_share(self) -> Tensor:
        """``(N,)`` fallback mass over injected mass, at most 1: an upper bound of the share."""
        scale = self.injected_mass.clamp_min(torch.finfo(self.injected_mass.dtype).tiny)
        return (self.fallback_mass / scale).clamp_max(1)


@dataclass(frozen=True)
class LocalAffine:
    """The affine function a network is around x: ``f(x') = weight.x' + bias``.

    Attributes:
        weight: Like x, the gradient of the explained output (a tuple for several inputs).
        bias: ``(N,)`` f(x) - w.x.
        output: ``(N,)`` the explained output f(x).
        ledger: Where the bias comes from.
        certificate: How exact this is.
    """

    weight: Tensor | tuple[Tensor, ...]
    bias: Tensor
    output: Tensor
    ledger: Ledger
    certificate: Certificate


@dataclass(frozen=True)
class LayerCost:
    """What splitting the bias of one layer cost.

    Attributes:
        name: Qualified name of the operation.
        kind: What it is to the rule, e.g. ``ConvMap``.
        form: How the rule went: ``expansion``, ``direct``, ``expansion+direct``, or ``own``.
        seconds: Time of the split.
        connections: Connections of the whole batch that each form covered.
        reach: R, the largest ``|e| / T``, or None where the rule does not ask.
        rank: Products of the expansion, 0 without one.
        bound: What no kernel value of the expansion is off by.
    """

    name: str
    kind: str
    form: str
    seconds: float
    connections: dict[str, int]
    reach: float | None
    rank: int
    bound: float


@dataclass(frozen=True)
class Attribution:
    """A map over the input's features and how well it adds up.

    Attributes:
        map: Like x (a tuple for several inputs).
        target: ``(N,)`` the explained class, or None for a scalar output.
        residual: ``(N,)`` |sum of the map - the total it should reach|, NaN where the method
            promises no total.
        tolerance: ``(N,)`` the residual that round-off explains, NaN likewise.
        certificate: Of the local affine form, for methods that record one.
        layers: Bias maps by qualified name of the operation, when asked for.
        diagnostics: Named per-layer figures such as the mean row entropy of alpha, in nats.
        profile: What each layer cost and how its rule went, when asked for.
        bias_share: ``(N,)`` b / f(x), for maps that sum to f(x); NaN where f(x) is 0.
    """

    map: Tensor | tuple[Tensor, ...]
    target: Tensor | None
    residual: Tensor
    tolerance: Tensor
    certificate: Certificate | None = None
    layers: dict[str, Tensor] = field(default_factory=dict)
    diagnostics: dict[str, float] = field(default_factory=dict)
    profile: tuple[LayerCost, ...] = ()
    bias_share: Tensor | None = None

    @classmethod
    def without_total(cls, found: Tensor, target: Tensor | None) -> Attribution:
        """A map of a method that promises no total.

        Args:
            found: Like x, ``(N, *features)``.
            target: ``(N,)`` the explained class, or None.
        """
        none = torch.full((len(found),), torch.nan, dtype=found.dtype, device=found.device)
        return cls(found, target, none, none.clone())

    @property
    def single(self) -> Tensor:
        """The map of a network with one input, like it.

        Raises:
            BiasmattersError: The network has several inputs.
        """
        if not isinstance(self.map, Tensor):
            raise BiasmattersError("A network with several inputs has a map for each; use .map.")
        return self.map

    @property
    def complete(self) -> bool | None:
        """Whether the map reaches its total within tolerance; None if it promises none."""
        if bool(self.tolerance.isnan().all()) and self.tolerance.numel():
            return None
        return bool((self.residual <= self.tolerance).all())


@runtime_checkable
class Attributor(Protocol):
    """A method bound to a model. Made by a factory ``model -> Attributor``."""

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """Explain ``model(x)[:, target]``.

        Args:
            x: ``(N, *features)``.
            target: Class per sample; None means the predicted class.
        """
        ...


AttributorFactory = Callable[[torch.nn.Module], Attributor]


@runtime_checkable
class Fittable(Protocol):
    """A method that learns something from training data before it explains."""

    def fit(self, batches: Iterable[Tensor]) -> object:
        """Look at training inputs, each batch ``(N, *features)``."""
        ...


@dataclass(frozen=True)
class Result:
    """One figure of an experiment, in long format; tables and plots are functions of these.

    Attributes:
        experiment: Name of the experiment.
        data: Name of the data set.
        normalization: ``unit``, ``standard`` or ``symmetric``.
        model: Name of the network.
        bias: Whether the network was trained with bias.
        method: Name of the attribution method, empty for figures of the network itself.
        rule: Name of BBp's rule, empty otherwise.
        metric: E.g. ``accuracy_all``, ``deletion_auc``; a curve has one row per point.
        seed: Seed of the training.
        value: The figure.
        low: Lower end of its 95 % interval, or None.
        high: Upper end.
        n: How many samples it is made from.
        at: Position along a curve (fraction of pixels), or None.
        stage: Key of the stage that made it.
        better: ``high`` or ``low`` where one of them is the aim, else empty.
    """

    experiment: str
    data: str
    normalization: str
    model: str
    bias: bool
    method: str
    rule: str
    metric: str
    seed: int
    value: float
    low: float | None
    high: float | None
    n: int
    at: float | None
    stage: str
    better: Better = ""


@dataclass(frozen=True)
class Versus:
    """Two methods on the same pictures, in long format.

    Attributes:
        experiment: Name of the experiment.
        data: Name of the data set.
        normalization: ``unit``, ``standard`` or ``symmetric``.
        model: Name of the network.
        metric: E.g. ``deletion_auc``.
        first_method: Name of the first method.
        first_rule: Its rule, empty for methods without.
        second_method: Name of the second method.
        second_rule: Its rule.
        difference: Mean over pictures of first minus second.
        low: Lower end of its interval, simultaneous over all pairs of the metric.
        high: Upper end.
        p_value: Adjusted for all pairs of the metric.
        n: How many pictures.
        stage: Key of the stage that made it.
    """

    experiment: str
    data: str
    normalization: str
    model: str
    metric: str
    first_method: str
    first_rule: str
    second_method: str
    second_rule: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    stage: str


# The model's own input, among names of layers.
INPUT = "input"
# A signal at a layer's output, or what makes it from that output.
Signal = Tensor | Callable[[Tensor], Tensor]


@runtime_checkable
class Descends(Protocol):
    """A method that is one pass backwards, so that it can set out from any layer.

    A layer is a module that runs once, by its qualified name; its signal is that at its output.
    """

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """Hand a signal down by the method's own rule.

        Args:
            x: ``(N, *features)``.
            start: The layer at which it sets out.
            signal: Like the output of start; in place of the method's own start.
            layers: Layers below, and ``INPUT`` for the method's map of the input.

        Returns:
            For each of the layers what arrives there, like its output.
        """
        ...
