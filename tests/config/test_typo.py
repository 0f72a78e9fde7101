"""A typo in an override names the key and the nearest valid ones."""

import pytest
from hydra.errors import HydraException

from biasmatters.config import conf_dir
from biasmatters.config.typo import explain
from tests.config.test_conf_files import composed


@pytest.mark.parametrize(
    ("typo", "words"),
    [
        ("data.rot=x", ["there is no key data.rot", "data.root"]),
        ("scale.epocs=2", ["scale.epocs", "scale.epochs"]),
        ("epochs=2", ["there is no key epochs", "scale.epochs"]),
        ("modle=cnn", ["modle", "model"]),
        ("data=fashion_mist", ["there is no data=fashion_mist", "fashion_mnist"]),
        ("data=[mnist,cifar]", ["there is no data=cifar", "cifar10"]),
        ("experiment=reproduce", ["experiment=reproduce", "reproduce_paper"]),
        ("data.sets.fashion_mnist.lmit=3", ["data.sets.fashion_mnist.lmit"]),
        ("scale.epochs=three", ["scale.epochs=three", "Integer"]),
        ("a=(b=", ["a=(b=", "key=value"]),
    ],
)
def test_a_typo_is_explained(typo: str, words: list[str]) -> None:
    with pytest.raises(HydraException) as caught:
        composed(typo)
    text = str(explain(caught.value, [typo], conf_dir()))
    assert all(word in text for word in words), text
    assert "provider" not in text


def test_keys_of_the_chosen_data_are_offered() -> None:
    arguments = ["data=mnist", "data.sets.mnist.rot=1"]
    with pytest.raises(HydraException) as caught:
        composed(*arguments)
    assert "data.sets.mnist.root" in str(explain(caught.value, arguments, conf_dir()))
