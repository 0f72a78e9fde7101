"""Turn Hydra's complaint about an override into the key and the nearest valid ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from biasmatters.config.errors import ConfigError


def explain(error: HydraException, arguments: Sequence[str], conf: Path) -> ConfigError:
    """Say what is wrong with the command line.

    Args:
        error: What Hydra raised.
        arguments: The command line without the program.
        conf: The folder conf/.
    """
    text = str(error)
    if key := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(key.group(1), arguments, conf)
    if choice := re.search(r"Could not (?:find|load) '(.+)/([^/']+)'", text):
        return unknown_choice(choice.group(1), choice.group(2), conf)
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"{error.override!r} is no override: {text.splitlines()[0]}. Write key=value, "
            "and quote values with special characters: 'key=\"a value\"'."
        )
    cause = str(error.__cause__ or "").splitlines()
    return ConfigError(": ".join([text.splitlines()[0], *cause[:1]]))


def _unknown_key(key: str, arguments: Sequence[str], conf: Path) -> ConfigError:
    known = sorted({*_keys(arguments, conf), *_groups(conf)})
    return ConfigError(f"there is no key {key}. {_nearest(key, known)}")


def unknown_choice(group: str, name: str, conf: Path) -> ConfigError:
    """Say that a folder of conf/ has no file of this name, and which are near."""
    known = sorted(path.stem for path in (conf / group).glob("*.yaml"))
    return ConfigError(
        f"there is no {group}={name}. {_nearest(name, known)} All: {', '.join(known)}."
    )


def _nearest(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=3, cutoff=0.6)
    last = word.rpartition(".")[2]
    near += [key for key in known if key.rpartition(".")[2] == last and key not in near][:3]
    if not near:
        return "See them all with: biasmatters --cfg job"
    return f"The nearest valid ones: {', '.join(near)}."


def _groups(conf: Path) -> list[str]:
    return [path.name for path in conf.iterdir() if path.is_dir() and path.name != "hydra"]


def _keys(arguments: Sequence[str], conf: Path) -> list[str]:
    """All keys that the command line's choices of groups, as far as they are valid, lead to."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        for overrides in (_choices(arguments, _groups(conf)), []):
            try:
                return list(_flat(OmegaConf.to_container(compose("config", overrides=overrides))))
            except HydraException:
                continue
    return []


def _choices(arguments: Sequence[str], groups: Sequence[str]) -> list[str]:
    parser = OverridesParser.create()
    found = []
    for word in arguments:
        if word.partition("=")[0] not in groups:
            continue
        try:
            if not parser.parse_override(word).is_sweep_override():
                found.append(word)
        except HydraException:
            continue
    return found


def _flat(node: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(node, Mapping):
        return
    for name, value in node.items():
        yield f"{prefix}{name}"
        yield from _flat(value, f"{prefix}{name}.")
