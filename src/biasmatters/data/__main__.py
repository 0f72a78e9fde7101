"""Fetch and check data sets: ``python -m biasmatters.data fashion_mnist mnist``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.markup import escape

from biasmatters.data import CIFAR10, CIFAR100, MNIST, STL10, FashionMNIST, ImageSet
from biasmatters.types import BiasmattersError

_SETS: Final[dict[str, ImageSet]] = {
    data.name: data for data in (FashionMNIST(), MNIST(), CIFAR10(), CIFAR100(), STL10())
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the data sets named, fetching what is not there.

    Returns:
        0, or 1 if one could not be had.
    """
    parser = argparse.ArgumentParser(prog="python -m biasmatters.data", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_SETS))
    parser.add_argument("--root", help="folder with the data, tried first")
    parser.add_argument("--cache", help="folder for downloads")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(_SETS))
    if unknown:
        parser.error(f"no data set {', '.join(unknown)}; choose from {', '.join(_SETS)}")
    console = Console(soft_wrap=True)
    failed = False
    for name in options.names or ["fashion_mnist"]:
        try:
            data = replace(_SETS[name], root=options.root, cache=options.cache).load()
        except BiasmattersError as error:
            console.print(f"[red]{name}[/]: {escape(str(error))}")
            failed = True
            continue
        count = len(data.train) + len(data.validation)
        note = f" ({data.note})" if data.note else ""
        console.print(
            f"[green]{name}[/]{escape(note)}: {count} training and {len(data.test)} test images "
            f"from {escape(data.source)}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
