"""The published numbers, read from ``published.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

import yaml

from biasmatters.types import BiasmattersError

Provenance = Literal["read", "recalled", "derived", "measured"]
Kind = Literal["result", "setting"]
Better = Literal["higher", "lower"]


class PaperDataError(BiasmattersError, ValueError):
    """A file of published numbers does not say what it has to."""


@dataclass(frozen=True)
class Source:
    """Where a number was published."""

    id: str
    cite: str
    url: str


@dataclass(frozen=True)
class PublishedNumber:
    """One number, where it stands, how we know it, and how near is near enough.

    Attributes:
        id: Unique name, e.g. ``table1.fashion_mnist.all``.
        source: Key of its :class:`Source`.
        place: Where in the source.
        metric: The metric of :class:`biasmatters.types.Result` that it compares with.
        low: Lower end of what was published; equals ``high`` for a plain number.
        high: Upper end.
        unit: Unit of the value, ``%`` for accuracies.
        provenance: ``read``, ``recalled``, ``derived`` or ``measured``.
        tolerance: Largest distance that counts as reproduced, in the same unit.
        tolerance_why: Why that much.
        kind: ``result``, or ``setting`` of a protocol.
        better: Which side would be an improvement; None means a difference is just one.
        data: Data set, or empty.
        model: Network, or empty.
        method: Attribution method or part, or empty.
        normalization: Of the inputs, or empty where unknown.
        bias: Whether the network has bias, None where it does not matter.
        at: Position along a curve, or None.
        note: What else has to be said.
    """

    id: str
    source: str
    place: str
    metric: str
    low: float
    high: float
    unit: str
    provenance: Provenance
    tolerance: float
    tolerance_why: str
    kind: Kind = "result"
    better: Better | None = None
    data: str = ""
    model: str = ""
    method: str = ""
    normalization: str = ""
    bias: bool | None = None
    at: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The number, or the end (or the middle) of the range that was published."""
        if self.low == float("-inf"):
            return self.high
        return self.low if self.high == float("inf") else (self.low + self.high) / 2


@dataclass(frozen=True)
class Published:
    """All numbers and where they come from.

    Attributes:
        sources: By key.
        numbers: By id, in the order of the file.
        orders: Claims in words: id, text and the ids of the numbers, largest first.
    """

    sources: Mapping[str, Source]
    numbers: Mapping[str, PublishedNumber]
    orders: Mapping[str, tuple[str, tuple[str, ...]]]

    def find(
        self, metric: str, data: str, *, source: str = "wang2019", bias: bool | None = None
    ) -> PublishedNumber | None:
        """The result published for a metric on a data set, or None."""
        for number in self.numbers.values():
            wanted = (metric, data, source, "result")
            found = (number.metric, number.data, number.source, number.kind)
            if wanted == found and number.bias in (bias, None):
                return number
        return None


@cache
def load_published() -> Published:
    """Read the numbers that ship with the package.

    Raises:
        PaperDataError: If an entry is incomplete, unknown or twice there.
    """
    text = resources.files(__package__).joinpath("published.yaml").read_text(encoding="utf-8")
    return parse_published(yaml.safe_load(text))


def parse_published(raw: Mapping[str, Any]) -> Published:
    """Check and type what a file of published numbers holds.

    Raises:
        PaperDataError: If an entry is incomplete, unknown or twice there.
    """
    sources = {key: Source(key, **entry) for key, entry in raw["sources"].items()}
    numbers: dict[str, PublishedNumber] = {}
    for entry in raw["numbers"]:
        number = _number(entry, raw["tolerances"])
        if number.source not in sources:
            raise PaperDataError(f"{number.id}: the source {number.source!r} is not listed.")
        if number.id in numbers:
            raise PaperDataError(f"{number.id} is there twice; ids must be unique.")
        numbers[number.id] = number
    orders = {c["id"]: (c["text"], tuple(c["order"])) for c in raw.get("claims", ())}
    for name, (_, ids) in orders.items():
        if unknown := set(ids) - set(numbers):
            raise PaperDataError(f"claim {name} names unknown numbers: {sorted(unknown)}.")
    return Published(sources, numbers, orders)


def _number(entry: Mapping[str, Any], tolerances: Mapping[str, Any]) -> PublishedNumber:
    """One entry of the file."""
    fields, name = dict(entry), entry.get("id", "an entry without id")
    if fields.get("provenance") not in get_args(Provenance):
        raise PaperDataError(f"{name}: provenance must be one of {get_args(Provenance)}.")
    if not fields.keys() & {"value", "low", "high"}:
        raise PaperDataError(f"{name}: give a value, or low and/or high.")
    if fields.get("tolerance") not in tolerances:
        raise PaperDataError(f"{name}: tolerance must be one of {sorted(tolerances)}.")
    tolerance = tolerances[fields.pop("tolerance")]
    value = fields.pop("value", None)
    low = value if value is not None else fields.pop("low", float("-inf"))
    high = value if value is not None else fields.pop("high", float("inf"))
    try:
        return PublishedNumber(
            low=float(low),
            high=float(high),
            tolerance=float(tolerance["value"]),
            tolerance_why=tolerance["why"],
            **fields,
        )
    except TypeError as error:
        raise PaperDataError(f"{name}: {error}.") from error
