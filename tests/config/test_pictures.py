"""Pictures and pretrained networks as the configuration asks for them."""

from pathlib import Path

import pytest

from biasmatters.config import ConfigError, build, extras, method_names, methods_named
from biasmatters.config.pictures import pictures_of
from biasmatters.pictures import PictureRequestError, Request, example_pictures
from biasmatters.rules import RuleError
from tests.config.test_conf_files import composed


def asked(*overrides: str) -> Request | None:
    return pictures_of(build(composed("experiment=explain_pictures", *overrides)))


def test_the_experiment_explains_the_example_pictures() -> None:
    request = asked()
    assert request == Request(list(example_pictures()), Path("explained"))


def test_other_experiments_explain_none() -> None:
    assert pictures_of(build(composed())) is None


def test_every_key_reaches_the_request() -> None:
    request = asked(
        "pictures.files=[a.png,example,folder]",
        "pictures.network=resnet18",
        "pictures.target=283",
        "pictures.out=there",
        "pictures.formats=[pdf,npz]",
        "pictures.layers=true",
        "rule=[uniform]",
        "bbp.temperature=0.5",
        "attribution=[bbp,grad_cam,input_x_gradient_plus_bbp]",
    )
    assert request is not None
    assert request.pictures == ["a.png", *example_pictures(), "folder"]
    assert (request.network, request.target, request.out) == ("resnet18", "283", Path("there"))
    assert (request.formats, request.layers) == (("pdf", "npz"), True)
    assert (request.rule, request.temperature) == ("uniform", 0.5)
    assert [(extra.name, extra.rule) for extra in request.more] == [
        ("grad_cam", ""),
        ("input_x_gradient_plus_bbp", "uniform"),
    ]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rule=\['uniform', 'softmax_abs'\].*choose one"):
        asked("rule=[uniform,softmax_abs]")
    with pytest.raises(PictureRequestError, match="formats: gif"):
        asked("pictures.formats=[gif]")


def test_a_rule_with_a_temperature_of_its_own_is_refused() -> None:
    with pytest.raises(RuleError, match="Unknown rule 'softmax_abs_hot'; the rules are"):
        asked("rule=[softmax_abs_hot]")


def test_methods_by_name() -> None:
    assert {"bbp", "grad_cam", "random"} <= set(method_names())
    methods = methods_named(["grad_cam", "input_x_gradient_plus_bbp"], "uniform", 0.5)
    assert [(m.method, m.rule) for m in methods] == [
        ("grad_cam", ""),
        ("input_x_gradient_plus_bbp", "uniform"),
    ]
    (cooler,) = methods_named(["bbp"], "softmax_abs", 0.5)
    assert cooler.rule == "softmax_abs T=0.5"
    assert list(extras([cooler])) == []
    (extra,) = extras(methods[1:])
    assert extra.settings == methods[1].part.settings
    assert extra.reduction == "sum"


@pytest.mark.parametrize(
    ("names", "rule", "words"),
    [
        (["grad_kam"], "uniform", ["there is no attribution=grad_kam", "grad_cam", "All: "]),
        (["gradient"], "unifrom", ["rule=unifrom", "nearest", "uniform"]),
    ],
)
def test_an_unknown_method_or_rule_gets_the_nearest(names, rule, words) -> None:
    with pytest.raises(ConfigError) as caught:
        methods_named(names, rule)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.normalizations=[unit]"], "set data.normalizations=[standard]"),
        (["data.normalizations=[standard,unit]"], "set data.normalizations=[standard]"),
        (["table1=true"], "set table1=false"),
        (["roar.fractions=[0.5]"], "roar.fractions=[]"),
        (["scale.seeds=[0,1]"], "set scale.seeds=[0]"),
    ],
)
def test_a_pretrained_network_is_taken_as_it_is(overrides, words) -> None:
    around = ("experiment=imagenet_methods", "model=imagenet_resnet18")
    assert build(composed(*around)).data[0].model.settings["pretrained"] == "resnet18"
    with pytest.raises(ConfigError, match="model=imagenet_resnet18 is pretrained") as caught:
        build(composed(*around, *overrides))
    assert words in str(caught.value)


def test_our_own_networks_are_left_alone() -> None:
    spec = build(composed("table1=true", "scale.seeds=[0,1]", "model=[cnn]"))
    assert spec.table1
    assert spec.seeds == (0, 1)


def test_a_pretrained_network_wants_photographs() -> None:
    around = ["experiment=imagenet_methods", "model=imagenet_resnet18"]
    with pytest.raises(ConfigError, match="which data=cifar10 is not: choose data=imagenet"):
        build(composed(*around, "data=cifar10"))


def test_rules_options_reach_the_request() -> None:
    request = asked("bbp.fold=false", "bbp.fallback=drop")
    assert request is not None
    assert (request.fold, request.fallback) == (False, "drop")
