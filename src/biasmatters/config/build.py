"""From a composed configuration to the dataclasses that the stages take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from biasmatters.config.errors import ConfigError
from biasmatters.config.factory import Factory
from biasmatters.stages.spec import (
    NEEDS,
    ConvergenceSpec,
    DataSpec,
    ExperimentSpec,
    MethodSpec,
    MetricSpec,
    Need,
    Part,
    RoarSpec,
    TrainerSpec,
)
from biasmatters.stages.zoo import OWN, zoo_name
from biasmatters.types import REDUCTIONS, Better

NORMALIZATIONS = ("unit", "standard", "symmetric")
SCHEDULES = ("constant", "one_cycle")
COUNTS = (
    "trainer.epochs",
    "trainer.batch_size",
    "trainer.eval_batch_size",
    "trainer.explain_batch_size",
    "trainer.chunk",
    "trainer.devices",
    "scale.images",
    "scale.sheet_images",
)
# Keys of a metric's file that are not its function's.
METRIC_KEYS = ("needs", "better", "images")
# Where files lie must not change what a result is called.
PLACES = ("root", "cache")


def build(config: DictConfig, *, variant: str = "", multirun: bool = False) -> ExperimentSpec:
    """Check a configuration and turn it into an experiment.

    Args:
        config: Composed by Hydra from conf/.
        variant: Names this job of a multirun; its report gets a folder of its own.
        multirun: Whether Hydra runs several jobs.

    Raises:
        ConfigError: A value makes no sense; the text names the key.
    """
    try:
        plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(f"the configuration cannot be resolved: {error}") from error
    _check(plain, multirun)
    factory = Factory(plain["allow"])
    data, scale = plain["data"], plain["scale"]
    sets = tuple(_data(plain, factory))
    for each in sets:
        _check_pretrained(plain, each)
    return ExperimentSpec(
        name=f"{plain['name']}/{variant}" if variant else plain["name"],
        title=f"{plain['title']}: {variant}" if variant else plain["title"],
        scale=scale["name"],
        data=sets,
        normalizations=tuple(data["normalizations"]),
        explained=tuple(data["normalizations"] if data["explained"] is None else data["explained"]),
        methods=tuple(_methods(plain, factory)),
        metrics=tuple(_metrics(plain, factory)),
        trainer=_trainer(plain["trainer"], factory),
        seeds=tuple(scale["seeds"]),
        table1=plain["table1"],
        roar=_roar(plain["roar"]),
        convergence=_convergence(plain["convergence"]),
        images=scale["images"],
        explain_batch_size=plain["trainer"]["explain_batch_size"],
        chunk=plain["trainer"]["chunk"],
        sheet_images=scale["sheet_images"],
        store=Path(plain["store"]),
        reports=Path(plain["reports"]),
        config=plain,
    )


def _part(name: str, leaf: Mapping[str, Any], factory: Factory) -> Part:
    settings = {key: value for key, value in leaf.items() if key not in PLACES}
    return Part(name, settings, factory.maker(leaf))


def _data(plain: Mapping[str, Any], factory: Factory) -> Iterator[DataSpec]:
    models = plain["model"]
    for name, leaf in plain["data"]["sets"].items():
        model = next(iter(models)) if len(models) == 1 else plain["pairs"].get(name)
        if model not in models:
            raise ConfigError(
                f"pairs.{name}={model} is none of the chosen models ({', '.join(models)}): "
                f"choose one with model=NAME or set pairs.{name}=NAME."
            )
        yield DataSpec(_part(name, leaf, factory), _part(model, models[model], factory))


def _methods(plain: Mapping[str, Any], factory: Factory) -> Iterator[MethodSpec]:
    for name, whole in plain["attribution"].items():
        reduction = whole.get("reduction", "sum")
        _choose(f"attribution.{name}.reduction", [reduction], REDUCTIONS)
        leaf = {key: value for key, value in whole.items() if key != "reduction"}
        if "rule" not in leaf:
            yield MethodSpec(name, "", _part(name, leaf, factory), reduction)
            continue
        rules = plain["rule"] if leaf["rule"] is None else {"": leaf["rule"]}
        for given, rule in rules.items():
            label = _rule_label(given, rule)
            part = _part(f"{name}-{label}", {**leaf, "rule": rule}, factory)
            yield MethodSpec(name, label, part, reduction)


def _metrics(plain: Mapping[str, Any], factory: Factory) -> Iterator[MetricSpec]:
    for name, whole in plain["metric"].items():
        key = f"metric.{name}"
        leaf = {k: v for k, v in whole.items() if k not in METRIC_KEYS}
        needs: list[Need] = whole.get("needs") or list(MetricSpec.needs)
        better: Better = whole.get("better") or ""
        images: int | None = whole.get("images")
        _choose(f"{key}.needs", needs, NEEDS)
        _choose(f"{key}.better", [better], ("high", "low", ""))
        if images is not None and images < 1:
            raise ConfigError(f"{key}.images={images} must be at least 1, or null for all.")
        yield MetricSpec(name, _part(name, leaf, factory), tuple(needs), better, images)


def _roar(given: Mapping[str, Any]) -> RoarSpec | None:
    fractions = tuple(given["fractions"])
    if not fractions:
        return None
    if not all(0 < fraction < 1 for fraction in fractions):
        raise ConfigError(f"roar.fractions={list(fractions)}: give numbers between 0 and 1.")
    return RoarSpec(fractions, given["train_images"], given["test_images"])


def _convergence(given: Mapping[str, Any]) -> ConvergenceSpec | None:
    if given["images"] is None:
        return None
    if given["images"] < 1 or given["draws"] < 2:
        raise ConfigError(
            f"convergence.images={given['images']} must be at least 1, convergence.draws="
            f"{given['draws']} at least 2, for there to be a pair."
        )
    starts = given["starts"]
    return ConvergenceSpec(
        given["images"], given["draws"], given["seed"], None if starts is None else tuple(starts)
    )


def _rule_label(given: str, rule: str | Mapping[str, Any]) -> str:
    """The rule's name, with its temperature where that is not 1."""
    if isinstance(rule, str):
        return rule
    name = given or str(rule["_target_"]).rpartition(".")[2]
    temperature = rule.get("temperature", 1.0)
    return name if temperature == 1.0 else f"{name} T={temperature:g}"


def _trainer(plain: Mapping[str, Any], factory: Factory) -> TrainerSpec:
    names = set(TrainerSpec.__dataclass_fields__) - {"optimizer"}
    return TrainerSpec(
        optimizer=_part("optimizer", plain["optimizer"], factory),
        **{name: plain[name] for name in names},
    )


def _check(plain: Mapping[str, Any], multirun: bool) -> None:
    data, scale, trainer = plain["data"], plain["scale"], plain["trainer"]
    _choose("data.normalizations", data["normalizations"], NORMALIZATIONS)
    _choose("data.explained", data["explained"] or (), tuple(data["normalizations"]))
    _choose("trainer.schedule", [trainer["schedule"]], SCHEDULES)
    _choose("logger.kind", [plain["logger"]["kind"]], ("csv", "wandb"))
    _choose("logger.mode", [plain["logger"]["mode"]], ("offline", "online"))
    for key, value in (
        ("data", data["sets"]),
        ("model", plain["model"]),
        ("data.normalizations", data["normalizations"]),
        ("scale.seeds", scale["seeds"]),
    ):
        if not value:
            raise ConfigError(f"{key} is empty: choose at least one.")
    for key in COUNTS:
        group, _, name = key.partition(".")
        if plain[group][name] < 1:
            raise ConfigError(f"{key}={plain[group][name]} must be at least 1.")
    if multirun and trainer["devices"] != 1:
        raise ConfigError(
            "trainer.devices must be 1 in a multirun, because Lightning would start its further "
            "processes with the whole sweep's command line: run the jobs one by one instead."
        )


def _check_pretrained(plain: Mapping[str, Any], data: DataSpec) -> None:
    """A network that others have trained is taken as it is."""
    if zoo_name(data.model) is None:
        return
    name = data.model.name
    if "preprocessing" not in data.source.settings:
        raise ConfigError(
            f"model={name} is pretrained on photographs, which data={data.name} is not: choose "
            "data=imagenet."
        )
    if plain["data"]["normalizations"] != [OWN]:
        raise ConfigError(
            f"model={name} is pretrained, so it takes its own scaling of the inputs only: set "
            f"data.normalizations=[{OWN}]."
        )
    if plain["table1"] or plain["roar"]["fractions"]:
        raise ConfigError(
            f"model={name} is pretrained and cannot be trained again: set table1=false and "
            "roar.fractions=[]; metric=[bias_ablation] has the accuracies of w.x and b."
        )
    if plain["scale"]["seeds"] != plain["scale"]["seeds"][:1]:
        raise ConfigError(f"model={name} is pretrained, so there is one: set scale.seeds=[0].")


def _choose(key: str, values: Any, allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise ConfigError(f"{key}: {value} is unknown; choose from {', '.join(allowed)}.")
