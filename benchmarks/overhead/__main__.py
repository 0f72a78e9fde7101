"""The command: paired times, medians over rounds, as a Markdown table."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.progress import track

from benchmarks.host import facts
from benchmarks.overhead.pairs import Pair, Work, pairs
from biasmatters.models import CifarVGG

PACKAGES = ("torch", "captum", "zennit", "biasmatters")
LIMIT = 0.05


def main(arguments: Sequence[str]) -> int:
    """Measure and write; 0 whether or not the limit is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("overhead.md"))
    found = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model = CifarVGG(in_channels=3, image_size=32, num_classes=10, bias=True).eval()
    x = torch.rand(found.batch, 3, 32, 32)
    target = model(x).argmax(1)
    lines = [_line(pair, found.rounds) for pair in track(pairs(model, x, target), "overhead")]
    # Where the page goes is no part of what was measured.
    settings = ["--rounds", str(found.rounds), "--batch", str(found.batch)]
    head = facts("benchmarks.overhead", settings, torch.get_num_threads(), PACKAGES)
    found.out.write_text(_page(head, lines, found.batch, found.rounds))
    sys.stdout.write("\n".join(lines) + f"\nSee {found.out}\n")
    return 0


def _line(pair: Pair, rounds: int) -> str:
    ratios, seconds = [], []
    pair.ours(), pair.theirs()
    for _ in range(rounds):
        first, ours, last = _time(pair.theirs), _time(pair.ours), _time(pair.theirs)
        ratios.append(2 * ours / (first + last) - 1)
        seconds.append((first + last) / 2)
    over = median(ratios)
    verdict = "met" if over <= LIMIT else "**NOT met**"
    checks = "yes" if pair.checks else "no"
    cells = (pair.name, f"{1e3 * median(seconds):.3g} ms", f"{100 * over:+.1f} %", checks, verdict)
    return f"| {' | '.join(cells)} |"


def _time(work: Work) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


PAGE = """# Overhead of the protocol

{head}
- batch {batch} of 32 x 32 pictures, CIFAR VGG with random weights; medians over {rounds} rounds,
  each call between two direct ones

Where *checks* says yes, the protocol records the model first and refuses one that the library would
walk wrongly; that is what it costs.

| method | direct call | protocol | checks | at most 5 % |
| --- | ---: | ---: | --- | --- |
{lines}
"""


def _page(head: list[tuple[str, str]], lines: list[str], batch: int, rounds: int) -> str:
    facts_ = "\n".join(f"- {name}: {value}" for name, value in head)
    return PAGE.format(head=facts_, lines="\n".join(lines), batch=batch, rounds=rounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
