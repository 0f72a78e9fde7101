"""What the machine can do at best: the prices that the floor is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.speed.clock import seconds_of

# Numbers in a block that stays in each core's cache.
BLOCK = 1 << 14
# Exponentials that a multiprocessor of NVIDIA's takes in one cycle, from Volta to Hopper.
EACH_CYCLE = 16
# Numbers in a copy that leaves the cache.
COPY = 1 << 25
TRIES, REPEATS = 5, 10


@dataclass(frozen=True)
class Rates:
    """Seconds for one of each.

    Attributes:
        exponential: A product, an in-place exp2 and a multiply-add, on blocks in the cache; on a
            GPU an exponential by its own units, at the clock that it may have.
        byte: A byte read or written.
    """

    exponential: float
    byte: float


def measure_rates(device: str) -> Rates:
    """The best of a few tries each."""
    source = torch.rand(COPY, device=device)
    copy = torch.empty_like(source)
    moved = min(seconds_of(lambda: copy.copy_(source), device) for _ in range(TRIES))
    exponential = _by_its_units() if device == "cuda" else _in_cache()
    return Rates(exponential, moved / (2 * 4 * COPY))


def _in_cache() -> float:
    block = BLOCK * torch.get_num_threads()
    e, x, w = (torch.rand(block) for _ in range(3))
    total = torch.zeros(block)

    def connect() -> None:
        for _ in range(REPEATS):
            torch.mul(x, w, out=e)
            e.exp2_()
            total.addcmul_(e, w)

    return min(seconds_of(connect, "cpu") for _ in range(TRIES)) / (REPEATS * block)


def _by_its_units() -> float:
    from triton.runtime import driver

    found = driver.active.utils.get_device_properties(torch.cuda.current_device())
    each_second: float = EACH_CYCLE * found["multiprocessor_count"] * found["sm_clock_rate"] * 1e3
    return 1 / each_second
