"""What a metric that asks the method again is given."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

# Explains classes (N,) of pictures (N, C, H, W) by maps (N, H, W) or (N, C, H, W).
Explain = Callable[[Tensor, Tensor], Tensor]
# Binds a method to a model.
Method = Callable[[nn.Module], Explain]
