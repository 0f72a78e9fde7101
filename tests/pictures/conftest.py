"""The tiny network in the zoo, and small figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biasmatters.models import zoo
from biasmatters.pictures import Request
from tests.pictures import tiny


@pytest.fixture(autouse=True)
def tiny_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """``tiny`` is a network of the zoo, and no other is loaded."""
    monkeypatch.setattr(zoo, "load", {"tiny": tiny.pretrained()}.__getitem__)
    monkeypatch.setattr("biasmatters.reporting.style.DPI", 30)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three pictures."""
    for seed, name in enumerate(("cat.png", "cup.jpg", "deep/rocket.png")):
        tiny.picture(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


@pytest.fixture
def asking(photos: Path, tmp_path: Path) -> Callable[..., Request]:
    """Requests about them that write maps only, which is quick."""

    def ask(*pictures: str | Path, **options: Any) -> Request:
        common = {"network": "tiny", "device": "cpu", "formats": ("npz",), "out": tmp_path / "out"}
        return Request(pictures or (photos,), **{**common, **options})

    return ask
