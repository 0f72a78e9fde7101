"""How long things may take, and on what."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.speed.methods import Method

OVER = "over budget"
# Connections that two cores with AVX-512 take the exponential of in a second, in cache and with
# nothing else to do: what is written out cannot be faster.
EXPONENTIALS_PER_SECOND = 3.1e9


@dataclass(frozen=True)
class Limits:
    """The options that a measurement depends on.

    Attributes:
        device: ``cpu`` or ``cuda``.
        rounds: Times that each method is timed, at most.
        budget: Seconds for a method in a cell: no call may take longer, and no round begins after.
        timeout: Seconds after which a first call is ended.
        memory: Whether to measure memory.
        threads: Of each process.
    """

    device: str = "cpu"
    rounds: int = 7
    budget: float = 60
    timeout: float = 300
    memory: bool = True
    threads: int = 1

    def forbids(self, method: Method, gradient: float, connections: int) -> str:
        """Why a method need not even be tried, or nothing.

        Args:
            method: Which.
            gradient: Seconds of a forward and backward pass.
            connections: Of the whole batch.
        """
        predicted = method.gradients * gradient
        if method.written_out and self.device == "cpu":
            predicted = connections / EXPONENTIALS_PER_SECOND
        return f"{OVER}: predicted {predicted:.0f} s" if predicted > self.budget else ""

    def judges(self, seconds: float) -> str:
        """Why a method that was tried is not timed, or nothing."""
        return f"{OVER}: the first call took {seconds:.0f} s" if seconds > self.budget else ""

    def cell(self, methods: int) -> float:
        """Seconds after which a whole cell is ended, far more than it should take."""
        return 600 + methods * (2 * self.timeout + 3 * self.budget)
