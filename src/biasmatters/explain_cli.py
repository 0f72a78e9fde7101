"""The console command `biasmatters-explain`: photographs, a known network, figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from biasmatters.polite import be_polite

if TYPE_CHECKING:
    from biasmatters.pictures import Extra, Request

OK, FAILED, LEFT_OUT, INTERRUPTED = 0, 2, 4, 130
FORMATS = ("png", "pdf", "npz", "safetensors")
EPILOG = """\
examples:
  biasmatters-explain --example
  biasmatters-explain photo.jpg --target "tabby" --layers
  biasmatters-explain FOLDER --model resnet50 --format png,safetensors --out explained

Files already explained in the same way are kept, so a run that was stopped goes on.
Exit codes: 0 done, 2 wrong request, 4 some pictures were left out (they are named).
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="biasmatters-explain",
        description="What a network sees in a picture: gradient, input x gradient, and BBp, which "
        "shares out the bias b of f(x) = w.x + b.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("pictures", nargs="*", metavar="PICTURE", help="files, or folders of pictures")
    add("--example", action="store_true", help="explain photographs that come with scikit-image")
    add("--model", default="efficientnet_lite0", metavar="NAME", help="see --models")
    add("--models", action="store_true", help="list the networks and stop")
    add(
        "--method", type=_names, default=["bbp"], metavar="NAME[,NAME]",
        help="further methods to show beside BBp, by their file in conf/attribution/",
    )  # fmt: skip
    add("--rule", default="softmax_neg_abs", metavar="NAME", help="how BBp splits a unit's bias")
    add("--temperature", type=float, default=1.0, metavar="T", help="of the softmax rules")
    add(
        "--target", default="top1", metavar="CLASS",
        help="top1 to top9, the name of a class, or its number (default: top1)",
    )  # fmt: skip
    add("--out", type=Path, default=Path("explained"), metavar="DIR", help="default: explained")
    add(
        "--format", type=_names, default=["png"], metavar="F[,F]",
        help=f"some of {', '.join(FORMATS)} (default: png)",
    )  # fmt: skip
    add("--layers", action="store_true", help="also draw where each layer's bias lands")
    add("--device", default="auto", help="cpu, cuda, mps, ... (default: auto)")
    add("--again", action="store_true", help="explain again what is explained already")
    return made


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = parser().parse_args(arguments)
    be_polite()
    from biasmatters.types import BiasmattersError

    try:
        if given.models:
            return _list_models()
        return _explain(given)
    except BiasmattersError as error:
        sys.stderr.write(f"biasmatters-explain: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("biasmatters-explain: stopped; run the same command again to go on\n")
        return INTERRUPTED
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(f"biasmatters-explain: {error.filename}: {error.strerror}\n")
        return FAILED


def _list_models() -> int:
    from biasmatters.pictures import network_names

    sys.stdout.write("\n".join([*network_names(), "timm/NAME for any other of timm's"]) + "\n")
    return OK


def _explain(given: argparse.Namespace) -> int:
    from biasmatters.pictures import explain_pictures

    summary = explain_pictures(_request(given))
    for failure in summary.failures:
        sys.stderr.write(f"biasmatters-explain: left out: {failure}\n")
    sys.stdout.write(f"{summary}\n")
    return LEFT_OUT if summary.failures else OK


def _request(given: argparse.Namespace) -> Request:
    from biasmatters.pictures import Request, example_pictures

    pictures = [*given.pictures, *(example_pictures() if given.example else ())]
    return Request(
        pictures=pictures,
        out=given.out,
        network=given.model,
        rule=given.rule,
        temperature=given.temperature,
        target=given.target,
        formats=tuple(dict.fromkeys(given.format)),
        layers=given.layers,
        more=tuple(_more(given)),
        device=given.device,
        again=given.again,
    )


def _more(given: argparse.Namespace) -> list[Extra]:
    """The methods beside BBp; the configuration is read only if there are any."""
    names = [name for name in dict.fromkeys(given.method) if name != "bbp"]
    if not names:
        return []
    from biasmatters.config import extras, methods_named

    return list(extras(methods_named(names, given.rule, given.temperature)))
