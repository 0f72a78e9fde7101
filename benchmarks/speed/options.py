"""The command's options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.limits import Limits
from benchmarks.speed.methods import METHODS
from benchmarks.speed.models import MODELS

QUICK_OUT = Path("reports/speed-quick")


@dataclass(frozen=True)
class Options:
    """What to measure and where to write it.

    Attributes:
        limits: How long things may take, and on what.
        models: Names.
        methods: Names.
        batches: Sizes, the most wanted first.
        out: Folder.
        scaling: Whether to measure scaling.
        again: Whether to measure anew what is there.
        note: Lines for the table's head.
    """

    limits: Limits
    models: tuple[str, ...]
    methods: tuple[str, ...]
    batches: tuple[int, ...]
    out: Path
    scaling: bool
    again: bool
    note: tuple[str, ...]

    def file(self, name: str) -> Path:
        """A file of the results; those of a GPU have names of their own."""
        stem, _, suffix = name.partition(".")
        return self.out / (name if self.limits.device == "cpu" else f"{stem}_cuda.{suffix}")


def read_options(arguments: Sequence[str], threads: int) -> Options:
    """The command line.

    Args:
        arguments: Without the program's name.
        threads: Of each process.
    """
    found = _parser().parse_args(arguments)
    quick: bool = found.quick
    limits = Limits(
        device=found.device,
        rounds=found.rounds or (3 if quick else 7),
        budget=found.budget,
        timeout=found.timeout,
        memory=found.memory,
        threads=threads,
    )
    return Options(
        limits=limits,
        models=tuple(found.models or (("mnist_cnn", "cifar_vgg") if quick else MODELS)),
        methods=tuple(found.methods or METHODS),
        batches=tuple(found.batches or ((2,) if quick else (2, 1, 8, 32))),
        out=found.out or (QUICK_OUT if quick else Path(__file__).parent),
        scaling=found.scaling and not quick,
        again=found.again,
        note=tuple(found.note),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Time and peak memory of BBp beside other methods, in forward passes.",
    )
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help=f"small networks, few rounds, no scaling, into {QUICK_OUT}",
    )
    add("--models", nargs="+", choices=tuple(MODELS), metavar="NAME", help=", ".join(MODELS))
    add("--methods", nargs="+", choices=tuple(METHODS), metavar="NAME", help=", ".join(METHODS))
    add("--batches", nargs="+", type=int, metavar="N", help="default: 2 1 8 32")
    add("--rounds", type=int, help="times that each method is timed (7)")
    add("--budget", type=float, default=60, help="seconds for a call, and for all rounds (60)")
    add("--timeout", type=float, default=300, help="seconds for a first call (300)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--no-memory", dest="memory", action="store_false")
    add("--no-scaling", dest="scaling", action="store_false")
    add("--out", type=Path, help="folder")
    add("--again", action="store_true", help="measure anew what the results file has")
    add("--note", action="append", default=[], help="a line for the table's head")
    return parser
