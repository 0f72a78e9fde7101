"""The pictures that a configuration asks to explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from biasmatters.config.errors import ConfigError
from biasmatters.stages.spec import ExperimentSpec, MethodSpec

if TYPE_CHECKING:
    from biasmatters.pictures import Extra, Request

EXAMPLE = "example"


def extras(methods: Iterable[MethodSpec]) -> Iterator[Extra]:
    """Methods as the figure of a picture shows them beside BBp."""
    from biasmatters.pictures import Extra

    for spec in methods:
        if spec.method != "bbp":
            yield Extra(
                name=spec.method,
                make=spec.part.make,
                rule=spec.rule,
                reduction=spec.reduction,
                settings=spec.part.settings,
            )


def pictures_of(spec: ExperimentSpec) -> Request | None:
    """What the key ``pictures`` asks for; None if it names no files.

    Raises:
        ConfigError: Several rules are chosen.
        RuleError: The rule has no name of its own (`RULES`) but a temperature.
        PictureRequestError: A value makes no sense.
    """
    given = spec.config["pictures"]
    if not given["files"]:
        return None
    from biasmatters.pictures import Request, example_pictures

    rules = list(spec.config["rule"])
    if len(rules) != 1:
        raise ConfigError(f"rule={rules}: pictures are explained by one rule; choose one.")
    files = [
        path
        for name in given["files"]
        for path in (example_pictures() if name == EXAMPLE else (name,))
    ]
    return Request(
        pictures=files,
        out=Path(given["out"]),
        network=given["network"],
        rule=rules[0],
        temperature=spec.config["bbp"]["temperature"],
        fold=spec.config["bbp"]["fold"],
        fallback=spec.config["bbp"]["fallback"],
        target=str(given["target"]),
        formats=tuple(given["formats"]),
        layers=given["layers"],
        more=tuple(extras(spec.methods)),
    )
