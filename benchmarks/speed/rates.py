"""What the machine can do at best: the prices that the floor is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.speed.clock import seconds_of

# Numbers in a block that stays in each core's cache, and on a GPU one that fills it.
BLOCK, WIDE_BLOCK = 1 << 14, 1 << 21
# Numbers in a copy that leaves the cache.
COPY = 1 << 25
TRIES, REPEATS = 5, 10


@dataclass(frozen=True)
class Rates:
    """Seconds for one of each.

    Attributes:
        exponential: A product, an in-place exp2 and a multiply-add, on blocks in the cache.
        byte: A byte read or written.
    """

    exponential: float
    byte: float


def measure_rates(device: str) -> Rates:
    """The best of a few tries each."""
    block = WIDE_BLOCK if device == "cuda" else BLOCK * torch.get_num_threads()
    e, x, w = (torch.rand(block, device=device) for _ in range(3))
    total = torch.zeros(block, device=device)

    def connect() -> None:
        for _ in range(REPEATS):
            torch.mul(x, w, out=e)
            e.exp2_()
            total.addcmul_(e, w)

    source = torch.rand(COPY, device=device)
    copy = torch.empty_like(source)
    exponential = min(seconds_of(connect, device) for _ in range(TRIES))
    moved = min(seconds_of(lambda: copy.copy_(source), device) for _ in range(TRIES))
    return Rates(exponential / (REPEATS * block), moved / (2 * 4 * COPY))
