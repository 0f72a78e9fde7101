"""Only what is allowed is imported and made."""

import sys

import pytest
import torch

from biasmatters.config.errors import ConfigError
from biasmatters.config.factory import Factory


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "biasmatters.stages.files.swap_in",
        "biasmatters.datax.Evil",
        "torch.load",
        "torch.optimal.Adam",
        "",
    ],
)
def test_a_target_off_the_list_is_refused_before_anything_is_imported(target: str) -> None:
    with pytest.raises(ConfigError, match=r"may not be used|_target_"):
        Factory().maker({"_target_": target})


@pytest.mark.parametrize(
    "target",
    [
        "biasmatters.data.base.torch.hub.load",
        "torch.optim.sgd.torch",
        "biasmatters.data.images.dataclass",
        "torch.optim.NoSuchThing",
    ],
)
def test_no_way_leads_through_a_module_to_another(target: str) -> None:
    with pytest.raises(ConfigError):
        Factory().maker({"_target_": target})()


def test_a_nested_target_is_refused_too() -> None:
    leaf = {"_target_": "torch.optim.SGD", "rule": {"_target_": "os.system", "command": "true"}}
    with pytest.raises(ConfigError, match=r"os.system may not be used"):
        Factory().maker(leaf)


def test_making_adds_what_is_given() -> None:
    make = Factory().maker({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    optimizer = make([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_wrong_keyword_names_the_target() -> None:
    make = Factory().maker({"_target_": "biasmatters.rules.Uniform", "warmth": 1})
    with pytest.raises(ConfigError, match=r"biasmatters.rules.Uniform cannot be made .*warmth"):
        make()


def test_a_user_can_allow_a_package(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_pkg.py").write_text("class MyRule:\n    def __init__(self, a): self.a = a\n")
    monkeypatch.syspath_prepend(tmp_path)
    leaf = {"_target_": "my_pkg.MyRule", "a": 3}
    with pytest.raises(ConfigError, match=r"allow=\[my_pkg\]"):
        Factory().maker(leaf)
    assert "my_pkg" not in sys.modules
    assert Factory(["my_pkg"]).maker(leaf)().a == 3
