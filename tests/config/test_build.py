"""What `build` refuses, and how methods and rules are named."""

import pytest

from biasmatters.config import ConfigError, build
from tests.config.test_conf_files import composed


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.normalizations=[units]", "data.normalizations: units is unknown; choose from unit"),
        ("data.normalizations=[]", "data.normalizations is empty"),
        ("data.explained=[symmetric]", "data.explained: symmetric is unknown"),
        ("trainer.schedule=cosine", "trainer.schedule: cosine"),
        ("trainer.epochs=0", "trainer.epochs=0 must be at least 1"),
        ("trainer.batch_size=-1", "trainer.batch_size=-1 must be at least 1"),
        ("scale.seeds=[]", "scale.seeds is empty"),
        ("logger.mode=on", "logger.mode: on"),
        ("pairs.fashion_mnist=resnet", "pairs.fashion_mnist=resnet is none of the chosen models"),
        ("model.cnn._target_=os.system", "_target_: os.system may not be used"),
    ],
)
def test_a_senseless_value_is_named(override: str, words: str) -> None:
    overrides = [override]
    if "explained" in override:
        overrides.append("data.normalizations=[unit]")
    with pytest.raises(ConfigError) as caught:
        build(composed(*overrides))
    assert words in str(caught.value)


def test_several_devices_and_a_multirun_are_refused() -> None:
    config = composed("trainer.devices=2")
    assert build(config).trainer.devices == 2
    with pytest.raises(ConfigError, match=r"trainer.devices must be 1 in a multirun"):
        build(config, multirun=True)


def test_each_rule_makes_a_method_and_a_temperature_is_named() -> None:
    config = composed("attribution=[gradient,bbp]", "rule=[softmax_abs,uniform]")
    assert [m.name for m in build(config).methods] == ["gradient", "bbp-softmax_abs", "bbp-uniform"]
    config = composed("attribution=bbp", "rule=[softmax_abs,uniform]", "bbp.temperature=0.5")
    assert [m.rule for m in build(config).methods] == ["softmax_abs T=0.5", "uniform"]
    config = composed("attribution=bbp", "attribution.bbp.rule=proportional")
    assert [m.name for m in build(config).methods] == ["bbp-proportional"]


def test_a_single_model_is_taken_for_all_data() -> None:
    spec = build(composed("model=mlp", "data=[mnist,cifar10]"))
    assert [data.model.name for data in spec.data] == ["mlp", "mlp"]


def test_a_variant_gets_a_report_of_its_own() -> None:
    spec = build(composed("experiment=reproduce_paper"), variant="rule=uniform")
    assert spec.name == "reproduce_paper/rule=uniform"
    assert spec.title.endswith("rule=uniform")
