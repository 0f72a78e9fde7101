"""A network with the weights it was published with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from biasmatters.models.zoo.card import Card


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network as it was published, and the file it came from.

    Attributes:
        card: What is known of it.
        network: On the CPU, in float32 and evaluation mode; ``(N, C, H, W)`` to logits
            ``(N, len(card.categories))``.
        sha256: Of the weights' file, 64 hexadecimal digits.
        path: The weights' file.
    """

    card: Card
    network: nn.Module
    sha256: str
    path: Path
