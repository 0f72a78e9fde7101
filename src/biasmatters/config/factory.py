"""Make what a `_target_` names, if it is on the list of what may be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from biasmatters.config.errors import ConfigError

ALLOWED = (
    "biasmatters.data",
    "biasmatters.models",
    "biasmatters.rules",
    "biasmatters.attribution",
    "biasmatters.baselines",
    "biasmatters.metrics",
    "torch.optim",
)
SPECIAL = ("_target_", "_partial_")


class Factory:
    """Makes objects from settings; a target is imported only when it is called.

    Args:
        allow: Module prefixes that are allowed besides `ALLOWED`.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.allowed = (*ALLOWED, *(prefix.rstrip(".") for prefix in allow))

    def maker(self, settings: Mapping[str, Any]) -> Callable[..., Any]:
        """A function that makes the target from the settings and what it is called with.

        Args:
            settings: ``_target_`` and keywords; a nested mapping with a ``_target_`` is made too.
                ``_partial_`` changes nothing here: what is still missing comes with the call.

        Raises:
            ConfigError: A target is absent or not allowed; nothing has been imported then.
        """
        self._check(settings)
        return partial(self._make, dict(settings))

    def resolve(self, target: str) -> Callable[..., Any]:
        """The class or function called ``target``.

        Raises:
            ConfigError: It is not allowed, does not exist, or comes from somewhere else.
        """
        self._check_name(target)
        module, _, name = target.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"_target_: {target} cannot be loaded: {error}.") from error
        origin = getattr(found, "__module__", "")
        if not callable(found) or not self._allows(str(origin)):
            raise ConfigError(f"_target_: {target} is no class or function of {module} itself.")
        result: Callable[..., Any] = found
        return result

    def _make(self, settings: Mapping[str, Any], *args: Any, **more: Any) -> Any:
        keywords = {k: self._value(v) for k, v in settings.items() if k not in SPECIAL}
        try:
            return self.resolve(settings["_target_"])(*args, **{**keywords, **more})
        except TypeError as error:
            raise ConfigError(
                f"{settings['_target_']} cannot be made from the keys "
                f"{', '.join(sorted({**keywords, **more}))}: {error}."
            ) from error

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping) and "_target_" in value:
            make = self.maker(value)
            return make if value.get("_partial_") else make()
        return value

    def _check(self, settings: Mapping[str, Any]) -> None:
        if "_target_" not in settings:
            raise ConfigError(f"_target_ is missing beside {', '.join(settings) or 'nothing'}.")
        self._check_name(str(settings["_target_"]))
        for value in settings.values():
            if isinstance(value, Mapping) and "_target_" in value:
                self._check(value)

    def _check_name(self, target: str) -> None:
        if not self._allows(target):
            raise ConfigError(
                f"_target_: {target} may not be used from a configuration. Allowed are "
                f"{', '.join(self.allowed)}; if you trust it, add its package: "
                f"allow=[{target.partition('.')[0]}]."
            )

    def _allows(self, name: str) -> bool:
        return any(name == prefix or name.startswith(f"{prefix}.") for prefix in self.allowed)
