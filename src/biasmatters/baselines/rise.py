"""RISE."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.question import Question, asking
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
        if x.ndim != 4:
            raise MethodError(f"RISE masks pictures (N, C, H, W); this input is {tuple(x.shape)}.")
        generator = torch.Generator().manual_seed(self.seed)
        total = x.new_zeros(len(x), *x.shape[2:])
        with asking(self.model, x, target) as question, torch.no_grad():
            step = max(1, self.chunk // max(len(x), 1))
            for first in range(0, self.masks, step):
                count = min(step, self.masks - first)
                masks = random_masks(count, self.grid, self.shown, x.shape[2:], generator).to(x)
                scores = _scores(question, masks)
                total += torch.einsum("nm,mhw->nhw", scores, masks)
            total /= self.masks * self.shown
            return question.answer(total[:, None].expand_as(x) / x.shape[1])


def _scores(question: Question, masks: Tensor) -> Tensor:
    """``(N, M)`` of ``masks (M, H, W)``."""
    x = question.x
    shown = (x[:, None] * masks[None, :, None]).flatten(0, 1)
    if question.target is None:
        return question.value(shown).reshape(len(x), -1)
    classes = question.target.repeat_interleave(len(masks))
    probability: Tensor = question.model(shown).softmax(1).gather(1, classes[:, None])
    return probability.reshape(len(x), -1)


def random_masks(
    count: int, grid: int, shown: float, space: torch.Size, generator: torch.Generator
) -> Tensor:
    """``(count, H, W)`` enlarged and shifted grids.

    Args:
        count: How many.
        grid: Cells along a side.
        shown: Probability of a cell to be 1.
        space: ``(H, W)``.
        generator: On the CPU.
    """
    cell = [ceil(side / grid) for side in space]
    cells = (torch.rand(count, 1, grid, grid, generator=generator) < shown).float()
    size = [(grid + 1) * side for side in cell]
    large = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)[:, 0]
    rows = torch.randint(0, cell[0], (count,), generator=generator)
    columns = torch.randint(0, cell[1], (count,), generator=generator)
    down = rows[:, None] + torch.arange(space[0])
    across = columns[:, None] + torch.arange(space[1])
    return large[torch.arange(count)[:, None, None], down[:, :, None], across[:, None, :]]
