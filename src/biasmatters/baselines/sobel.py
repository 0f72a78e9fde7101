"""The edge detector: a map that knows nothing of the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.baselines.question import asking, require_pictures
from biasmatters.types import Attribution, Target


class Sobel:
    """The size of the picture's own edges, channel by channel: a sanity baseline.

        sqrt((S_x * x)^2 + (S_y * x)^2),  the border repeated

    A method that scores no better looks at the picture only.

    Source: Sobel, Feldman, 1968, as an explanation: Adebayo et al., NeurIPS 2018 (arXiv
    1810.03292).

    Args:
        model: Is asked for the predicted class and nothing else.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``.

        Raises:
            MethodError: For anything but pictures.
        """
        require_pictures(x, "An edge detector needs")
        with asking(self.model, x, target) as question:
            across = question.x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
            kernel = torch.stack([across, across.T])[:, None]
            flat = F.pad(question.x, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
            edges = F.conv2d(flat, kernel).square().sum(1).sqrt()
            return question.answer(edges.reshape(x.shape))
