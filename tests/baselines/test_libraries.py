"""A library that is not there is named with the extra that brings it."""

from __future__ import annotations

import builtins
import sys

import pytest
import torch
from torch import nn

from biasmatters.baselines import LRP, DeepTaylor, ExcitationBackprop, Lime, MissingLibraryError
from biasmatters.baselines.libraries import library


def without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in list(sys.modules):
        if module.partition(".")[0] == name:
            monkeypatch.delitem(sys.modules, module)
    real = builtins.__import__

    def gone(module, *args, **kwargs):
        if module.partition(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", gone)
    monkeypatch.setattr(
        "biasmatters.baselines.libraries.import_module", lambda module: gone(module)
    )


@pytest.mark.parametrize("make", [LRP, ExcitationBackprop, lambda net: DeepTaylor(net, 0, 1)])
def test_without_zennit(monkeypatch: pytest.MonkeyPatch, make) -> None:
    without(monkeypatch, "zennit")
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with pytest.raises(MissingLibraryError, match=r"zennit is not installed.*biasmatters\[base"):
        make(net).explain(torch.rand(2, 3), 0)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "sklearn")
    with pytest.raises(MissingLibraryError, match=r"sklearn is not installed.*\[baselines\]"):
        Lime(nn.Identity())


def test_an_error_inside_a_library_is_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        library("needs_more", "baselines")
