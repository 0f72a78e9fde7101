"""The LightningModule that measures: one predict step measures one batch with every metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

Batch = dict[str, Tensor]
POSITION = "position"


@runtime_checkable
class CurveLike(Protocol):
    """A figure followed along a share of pixels."""

    @property
    def fractions(self) -> Tensor:
        """``(points,)`` share of pixels changed."""
        ...

    @property
    def scores(self) -> Tensor:
        """``(N, points)``."""
        ...

    @property
    def auc(self) -> Tensor:
        """``(N,)``."""
        ...


@runtime_checkable
class FiguresLike(Protocol):
    """Several figures of each picture."""

    def per_image(self) -> Mapping[str, Tensor]:
        """``(N,)`` each, by name."""
        ...


@dataclass(frozen=True)
class Measure:
    """A metric and what it is called with.

    Attributes:
        name: Of its figures.
        call: Called with ``needs`` as keywords; returns ``(N,)``, a curve, or figures by name.
        needs: ``model``, a column of the batch, or one of ``given``.
        images: How many of the pictures are measured; None for all.
        given: Further things it may need.
    """

    name: str
    call: Callable[..., Any]
    needs: Sequence[str]
    images: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


class Measured(NamedTuple):
    """What one metric found on one batch, on the CPU.

    Attributes:
        values: ``(N,)`` by the figure's name: ``<metric>``, ``<metric>_auc`` of a curve,
            ``<metric>/<figure>`` of several.
        fractions: ``(points,)`` of a curve, else None.
        scores: ``(N, points)`` of a curve, else None.
    """

    values: dict[str, Tensor]
    fractions: Tensor | None = None
    scores: Tensor | None = None


class Columns(Dataset[Batch]):
    """Tensors by name, one row a picture, with the picture's position beside them.

    Args:
        columns: ``(N, ...)`` each.
    """

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        count = len(next(iter(columns.values())))
        self.columns = {**columns, POSITION: torch.arange(count)}

    def __len__(self) -> int:
        return len(self.columns[POSITION])

    def __getitem__(self, index: int) -> Batch:
        return {name: values[index] for name, values in self.columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch without a loop; the data loader needs a ``collate_fn`` that passes it."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return {name: values[rows] for name, values in self.columns.items()}


class Score(pl.LightningModule):
    """Measures a network, or maps of it.

    Args:
        model: The network.
        measures: What is measured.
    """

    def __init__(self, model: nn.Module, measures: Sequence[Measure]) -> None:
        super().__init__()
        self.model = model
        self.measures = tuple(measures)

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, Measured]:
        """Measure a batch of columns; a metric whose pictures are all done is left out."""
        found = {}
        for measure in self.measures:
            rows = slice(self._left(measure, batch))
            if rows.stop == 0:
                continue
            things = {"model": self.model, **measure.given, **batch}
            keywords = {name: things[name] for name in measure.needs}
            some = {k: v[rows] if isinstance(v, Tensor) else v for k, v in keywords.items()}
            found[measure.name] = _sorted_out(measure.name, measure.call(**some))
        return found

    def _left(self, measure: Measure, batch: Batch) -> int:
        """How many of the batch's pictures are within the metric's number."""
        place = batch[POSITION]
        return len(place) if measure.images is None else int((place < measure.images).sum())


def _sorted_out(name: str, found: Any) -> Measured:
    """The figures by name, and the curve if there is one.

    Raises:
        TypeError: For anything else.
    """
    if isinstance(found, Tensor):
        return Measured({name: found.detach().cpu()})
    if isinstance(found, CurveLike):
        values = {f"{name}_auc": found.auc.detach().cpu()}
        return Measured(values, found.fractions.cpu(), found.scores.detach().cpu())
    figures = found.per_image() if isinstance(found, FiguresLike) else found
    if isinstance(figures, Mapping):
        return Measured({f"{name}/{k}": v.detach().cpu() for k, v in figures.items()})
    raise TypeError(
        f"the metric {name} gave {type(found).__name__}; it must give (N,) figures, a curve "
        "(fractions, scores, auc), or (N,) figures by name."
    )


def joined(batches: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """All batches' figures one after another, by metric."""
    parts: dict[str, list[Measured]] = {}
    for batch in batches:
        for name, found in batch.items():
            parts.setdefault(name, []).append(found)
    return {name: _joined(found) for name, found in parts.items()}


def _joined(found: Sequence[Measured]) -> Measured:
    values = {key: torch.cat([part.values[key] for part in found]) for key in found[0].values}
    curves = [part.scores for part in found if part.scores is not None]
    return Measured(values, found[0].fractions, torch.cat(curves) if curves else None)
