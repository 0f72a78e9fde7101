"""One of the configured attribution methods by its name, outside an application of Hydra."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from biasmatters.config.build import build
from biasmatters.config.errors import ConfigError
from biasmatters.config.place import conf_dir
from biasmatters.config.schema import register
from biasmatters.config.typo import unknown_choice
from biasmatters.stages.spec import MethodSpec


def method_names() -> tuple[str, ...]:
    """The names of all files in conf/attribution/."""
    return tuple(sorted(path.stem for path in (conf_dir() / "attribution").glob("*.yaml")))


def methods_named(
    names: Sequence[str], rule: str = "softmax_neg_abs", temperature: float = 1.0
) -> tuple[MethodSpec, ...]:
    """Methods as their files in conf/attribution/ have them.

    Args:
        names: Of the files.
        rule: For those that use BBp.
        temperature: For the softmax rules.

    Raises:
        ConfigError: There is no such method or rule; with the nearest names.
    """
    conf = conf_dir()
    for name in names:
        if name not in method_names():
            raise unknown_choice("attribution", name, conf)
    if not (conf / "rule" / f"{rule}.yaml").is_file():
        raise unknown_choice("rule", rule, conf)
    register()
    GlobalHydra.instance().clear()
    overrides = [
        f"attribution=[{','.join(names)}]",
        f"rule=[{rule}]",
        f"bbp.temperature={temperature}",
    ]
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            return build(compose("config", overrides=overrides)).methods
    except HydraException as error:
        raise ConfigError(f"rule={rule}: {str(error).splitlines()[0]}") from error
