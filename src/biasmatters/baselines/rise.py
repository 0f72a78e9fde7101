"""RISE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.affine.mixing import ranges
from biasmatters.baselines.question import Question, asking, require_pictures
from biasmatters.baselines.settings import between, whole
from biasmatters.types import Attribution, Target


class Rise:
    """How much each pixel's being shown raises the class probability, over random masks.

        S(q) = 1 / (p M) sum_i f(x * m_i) m_i(q)

    The masks are coarse grids of 0 and 1, enlarged bilinearly and shifted at random; all images
    see the same ones. f is the softmax probability of the explained class; a network with one
    output, or a callable target, is taken as it is.

    Source: Petsiuk, Das, Saenko, BMVC 2018 (arXiv 1806.07421).

    Args:
        model: A module in evaluation mode.
        masks: M, how many masks.
        grid: Cells along a side.
        shown: p, the probability of a cell to be shown.
        chunk: Pictures evaluated at a time.
        seed: Of the masks.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: int = 1000,
        grid: int = 7,
        shown: float = 0.5,
        chunk: int = 256,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.masks = whole("masks", masks)
        self.grid = whole("grid", grid, 2)
        self.shown = between("shown", shown, 0.01, 1)
        self.chunk = whole("chunk", chunk)
        self.seed = seed

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``, the same in every channel; its channels sum to S.

        Raises:
            MethodError: For anything but pictures.
        """
        require_pictures(x, "RISE masks")
        with asking(self.model, x, target) as question, torch.no_grad():
            x = question.x
            drawn = Masks.draw(self.masks, self.grid, self.shown, x.shape[2:], self.seed)
            total = x.new_zeros(len(x), *x.shape[2:])
            for some in ranges(self.masks, max(1, self.chunk // max(len(x), 1))):
                masks = drawn.enlarged(some).to(x)
                total += torch.einsum("nm,mhw->nhw", _scores(question, masks), masks)
            total /= self.masks * self.shown
            return question.answer(total[:, None].expand_as(x) / x.shape[1])


def _scores(question: Question, masks: Tensor) -> Tensor:
    """``(N, M)`` of ``masks (M, H, W)``."""
    x, size = question.x, (len(question.x), len(masks))
    shown = (x[:, None] * masks[None, :, None]).flatten(0, 1)
    if question.target is None:
        return question.value(shown).reshape(size)
    classes = question.target.repeat_interleave(len(masks))
    probability: Tensor = question.output(shown).softmax(1).gather(1, classes[:, None])
    return probability.reshape(size)


@dataclass(frozen=True)
class Masks:
    """Coarse masks and where each is cut out once it is enlarged.

    Attributes:
        cells: ``(M, grid, grid)`` of 0 and 1.
        down: ``(M,)`` first row.
        across: ``(M,)`` first column.
        space: ``(H, W)``.
    """

    cells: Tensor
    down: Tensor
    across: Tensor
    space: tuple[int, int]

    @classmethod
    def draw(cls, count: int, grid: int, shown: float, space: Sequence[int], seed: int) -> Masks:
        """All masks at once, so that they depend on the seed alone.

        Args:
            count: How many.
            grid: Cells along a side.
            shown: Probability of a cell to be 1.
            space: ``(H, W)``.
            seed: Of a generator of its own.
        """
        generator = torch.Generator().manual_seed(seed)
        cells = (torch.rand(count, grid, grid, generator=generator) < shown).float()
        down, across = (
            torch.randint(0, ceil(side / grid), (count,), generator=generator) for side in space
        )
        return cls(cells, down, across, (space[0], space[1]))

    def enlarged(self, some: slice) -> Tensor:
        """``(some, H, W)`` between 0 and 1."""
        cells, grid = self.cells[some], self.cells.shape[1]
        size = [(grid + 1) * ceil(side / grid) for side in self.space]
        large = F.interpolate(cells[:, None], size=size, mode="bilinear", align_corners=False)
        rows = self.down[some, None] + torch.arange(self.space[0])
        columns = self.across[some, None] + torch.arange(self.space[1])
        each = torch.arange(len(cells))[:, None, None]
        return large[:, 0][each, rows[:, :, None], columns[:, None, :]]
