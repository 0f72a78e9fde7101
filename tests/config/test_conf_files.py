"""Every file in conf/ composes, and its leaves have the keys of what they name."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from biasmatters.config import build, conf_dir, register
from biasmatters.config.factory import SPECIAL, Factory

CONF = conf_dir()
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
FILES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
# What is given when a thing is made, by the kind of thing.
GIVEN = {
    "data": {"normalization"},
    "model": {"in_channels", "image_size", "num_classes", "bias"},
    "attribution": {"model"},
    "rule": set(),
    "trainer": {"params"},
}
# What is read by config.build itself.
OURS = {"attribution": {"reduction"}, "metric": {"needs", "better", "images"}}


def composed(*overrides: str) -> DictConfig:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        yield path, node
    for name, value in node.items():
        yield from leaves(value, f"{path}.{name}" if path else str(name))


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_file_composes_and_builds(group: str, name: str) -> None:
    # Networks that others have trained need an experiment that trains none.
    around = ["experiment=imagenet_methods"] if (group, name[:9]) == ("model", "imagenet_") else []
    spec = build(composed(*around, f"{group}={name}"))
    assert spec.data
    assert spec.methods
    # What is compared there is cost, completeness and looks.
    measured_otherwise = {
        "compare_methods",
        "cosine_convergence",
        "remove_and_retrain",
        "explain_pictures",
    }
    assert bool(spec.metrics) == (name not in measured_otherwise)


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_leaf_has_the_keys_of_its_target(group: str, name: str) -> None:
    plain = OmegaConf.to_container(composed(f"{group}={name}"), resolve=True)
    found = [(path, leaf) for path, leaf in leaves(plain) if path.split(".")[0] == group]
    if group in {"data", "model", "attribution", "rule", "metric"}:
        assert [p.rpartition(".")[2] for p, _ in found if not p.endswith(".method")] == [name]
    for path, leaf in found:
        signature = inspect.signature(Factory().resolve(leaf["_target_"]))
        keys = set(leaf) - set(SPECIAL) - OURS.get(group, set())
        assert keys <= set(signature.parameters), path
        given = set(leaf["needs"]) if group == "metric" else GIVEN[group]
        assert given <= set(signature.parameters), path
        needed = {
            key
            for key, parameter in signature.parameters.items()
            if parameter.default is parameter.empty
        }
        assert needed <= keys | given, path


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")))
def test_every_experiment_opens_with_what_it_is_for(path: Path) -> None:
    head = path.read_text(encoding="utf-8")
    places = [head.index(f"# {word}:") for word in ("Claim", "Command")]
    places += [head.index("# Expected time:"), head.index("# Expected number:")]
    assert places == sorted(places)


def test_the_groups_of_the_design_are_there() -> None:
    assert {"data", "model", "attribution", "rule", "metric", "trainer", "logger"} <= set(GROUPS)
    assert {"scale", "experiment"} <= set(GROUPS)


def test_the_command_lines_of_the_issue() -> None:
    spec = build(
        composed("experiment=reproduce_paper", "scale=small", "data=[fashion_mnist,mnist]")
    )
    assert [data.name for data in spec.data] == ["fashion_mnist", "mnist"]
    assert [data.model.name for data in spec.data] == ["cnn", "cnn"]
    assert spec.normalizations == ("unit", "standard", "symmetric")
    assert len(spec.methods) == 13
    one = build(composed("data=mnist", "data.root=somewhere"))
    assert [data.source.make.args[0]["root"] for data in one.data] == ["somewhere"]
    assert build(composed("data=imagefolder", "data.root=x")).data[0].model.name == "cifar_vgg"


def test_the_scale_is_the_only_difference_between_scales() -> None:
    plain = [
        OmegaConf.to_container(composed(f"scale={scale}"), resolve=False)
        for scale in ("smoke", "small", "paper")
    ]
    for node in plain:
        node.pop("scale")
    assert plain[0] == plain[1] == plain[2]


def test_where_files_lie_changes_no_key() -> None:
    here, there = (build(composed(f"data.root={root}", f"data.cache={root}")) for root in "ab")
    assert here.data[0].source.settings == there.data[0].source.settings
