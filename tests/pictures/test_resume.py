"""What is kept, what is made anew, and what is left of a run that was stopped."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from biasmatters.models import zoo
from biasmatters.pictures import (
    Extra,
    PictureRequestError,
    Request,
    explain_pictures,
    output,
)
from biasmatters.pictures.output import MARK
from biasmatters.types import Attribution
from tests.pictures import tiny

Ask = Callable[..., Request]
OVERVIEW = {"index.html", "summary.csv", MARK}


def times(request: Request) -> dict[str, int]:
    files = (path for path in request.out.rglob("*") if path.is_file())
    return {p.name: p.stat().st_mtime_ns for p in files if p.name not in OVERVIEW}


def test_what_is_there_is_kept(asking: Ask) -> None:
    request = asking(formats=("npz", "safetensors"))
    first = explain_pictures(request)
    assert (first.made, first.kept) == (3, 0)
    before, page = times(request), first.page.read_bytes()
    second = explain_pictures(request)
    assert (second.made, second.kept, second.failures) == (0, 3, ())
    assert times(request) == before
    assert len(before) == 9
    assert second.page.read_bytes() == page
    assert str(second).startswith("0 explained, 3 had their results already: ")


def changed(request: Request, before: dict[str, int]) -> set[str]:
    return {name for name, when in times(request).items() if before.get(name) != when}


@pytest.mark.parametrize(
    "other",
    [{"temperature": 0.5}, {"rule": "uniform"}, {"target": "sock"}, {"again": True}],
)
def test_another_request_is_made_anew(asking: Ask, other: dict) -> None:
    request = asking()
    explain_pictures(request)
    before = times(request)
    found = explain_pictures(replace(request, **other))
    assert (found.made, found.kept) == (3, 0)
    assert changed(request, before) == set(before)


def test_another_picture_or_a_deleted_file_is_made_anew(asking: Ask, photos: Path) -> None:
    request = asking()
    explain_pictures(request)
    before = times(request)
    tiny.picture(photos / "cup.jpg", 7)
    (request.out / "deep" / "rocket.npz").unlink()
    found = explain_pictures(request)
    assert (found.made, found.kept) == (2, 1)
    assert changed(request, before) == {"cup.npz", "cup.json", "rocket.npz", "rocket.json"}


def test_a_deleted_or_added_figure_is_drawn(asking: Ask, photos: Path) -> None:
    request = asking(photos / "cat.png", formats=("npz", "png"))
    explain_pictures(request)
    (request.out / "cat.png").unlink()
    assert explain_pictures(request).made == 1
    assert (request.out / "cat.png").is_file()
    more = replace(request, layers=True)
    assert explain_pictures(more).made == 1
    assert (request.out / "cat.layers.png").is_file()
    assert explain_pictures(more).made == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": "another"}'])
def test_a_damaged_record_counts_as_none(asking: Ask, text: str) -> None:
    request = asking()
    explain_pictures(request)
    (request.out / "cat.json").write_text(text)
    assert explain_pictures(request).made == 1


def test_other_weights_or_another_reduction_are_made_anew(asking: Ask, monkeypatch) -> None:
    class Same:
        def explain(self, x, target) -> Attribution:
            return Attribution.without_total(x, None)

    extra = Extra("same", lambda model: Same(), settings={"steps": 1})
    request = asking(more=(extra,))
    assert explain_pictures(request).made == 3
    assert explain_pictures(request).made == 0
    for change in ({"settings": {"steps": 2}}, {"reduction": "abs_sum"}):
        extra = replace(extra, **change)
        request = replace(request, more=(extra,))
        assert explain_pictures(request).made == 3
    retrained = replace(tiny.pretrained(), sha256="0" * 64)
    monkeypatch.setattr(zoo, "load", lambda name: retrained)
    assert explain_pictures(request).made == 3


def test_a_run_killed_half_way_goes_on(asking: Ask, monkeypatch) -> None:
    request = asking(formats=("npz", "safetensors"))
    content = output._content

    def failing(kind, found, record) -> bytes:
        if kind == "safetensors" and record["name"] == "cup":
            raise KeyboardInterrupt
        return content(kind, found, record)

    with monkeypatch.context() as patch:
        patch.setattr(output, "_content", failing)
        with pytest.raises(KeyboardInterrupt):
            explain_pictures(request)
    before = times(request)
    assert set(before) >= {"cat.npz", "cat.safetensors", "cat.json", "cup.npz"}
    assert not set(before) & {"cup.safetensors", "cup.json"}
    assert not [name for name in before if name.endswith(".part")]
    found = explain_pictures(request)
    assert found.kept >= 1
    assert found.made + found.kept == 3
    assert not changed(request, before) & {"cat.npz", "cat.safetensors", "cat.json"}
    assert {"cup.npz", "cup.safetensors", "cup.json"} <= set(times(request))


@pytest.mark.parametrize("named", ["cat.png", "."])
def test_the_pictures_themselves_are_never_written_over(
    asking: Ask, photos: Path, named: str
) -> None:
    before = {path.name: path.read_bytes() for path in photos.glob("*.*")}
    with suppress(PictureRequestError):
        explain_pictures(asking(photos / named, out=photos, formats=("png",)))
    assert {name: (photos / name).read_bytes() for name in before} == before


def test_files_that_are_not_ours_are_never_written_over(asking: Ask, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cup.npz").write_bytes(b"mine")
    with pytest.raises(PictureRequestError, match="choose another folder"):
        explain_pictures(asking())
    assert (tmp_path / "out" / "cup.npz").read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cup.npz"]


def test_a_picture_called_like_anothers_layers(asking: Ask, photos: Path) -> None:
    tiny.picture(photos / "cat.layers.png", 3)
    request = asking(layers=True, formats=("png",))
    assert explain_pictures(request).made == 4
    figures = {path.name for path in request.out.glob("cat*.png")}
    assert figures == {
        "cat.png",
        "cat.layers.png",
        "cat.layers-png.png",
        "cat.layers-png.layers.png",
    }


def test_a_very_long_name(asking: Ask, photos: Path) -> None:
    tiny.picture(photos / f"{'x' * 245}.png", 3)
    found = explain_pictures(asking())
    assert (found.made, found.failures) == (4, ())
