"""Pictures of every kind, broken ones among them, and how much is held in memory."""

import gc
import io
import json
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biasmatters.pictures import PictureRequestError, Request, explain_pictures, output, run
from biasmatters.pictures.explainer import Explainer
from tests.pictures import tiny

Ask = Callable[..., Request]


def bad(folder: Path) -> list[Path]:
    """Files that are called pictures and are none."""
    whole = io.BytesIO()
    tiny.drawing().save(whole, "JPEG")
    contents = {"text.png": b"no picture", "cut.jpg": whole.getvalue()[:-300], "empty.png": b""}
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents] + [folder / "missing.png"]


def test_bad_pictures_are_named_and_the_others_explained(asking: Ask, tmp_path: Path) -> None:
    good = [tiny.picture(tmp_path / f"{name}.png", seed) for seed, name in enumerate("abcde")]
    wrong = bad(tmp_path / "bad")
    mixed = [picture for pair in zip(good, wrong, strict=False) for picture in pair] + good[-1:]
    request = asking(*mixed)
    found = explain_pictures(request)
    assert found.made == 5
    assert {path.stem for path in request.out.glob("*.npz")} == set("abcde")
    reasons = ("it is no JPEG, PNG", "it is damaged", "it is empty", "No such file")
    for path, reason, failure in zip(wrong, reasons, found.failures, strict=True):
        assert str(path) in failure
        assert reason in failure
    page = found.page.read_text(encoding="utf-8")
    assert all(str(path) in page for path in wrong)
    assert str(found).startswith("5 explained (")
    assert ", 4 left out: " in str(found)
    again = explain_pictures(request)
    assert (again.made, again.kept, again.failures) == (0, 5, found.failures)


def test_only_bad_pictures_leave_a_page_that_says_so(asking: Ask, tmp_path: Path) -> None:
    found = explain_pictures(asking(*bad(tmp_path / "bad")))
    assert (found.made, found.kept, len(found.failures)) == (0, 0, 4)
    assert "Left out" in found.page.read_text(encoding="utf-8")


def test_a_folder_without_pictures_stops_before_anything_is_explained(
    asking: Ask, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    request = asking(photos, tmp_path / "none")
    with pytest.raises(PictureRequestError, match="/none holds no pictures"):
        explain_pictures(request)
    assert not request.out.exists()


def odd(folder: Path) -> None:
    """Pictures of unusual modes and sizes."""
    tiny.picture(folder / "cmyk.jpg", mode="CMYK")
    tiny.picture(folder / "grey.png", mode="L")
    tiny.picture(folder / "bits.png", mode="1")
    tiny.picture(folder / "alpha.png", mode="RGBA")
    tiny.picture(folder / "greyalpha.png", mode="LA")
    tiny.picture(folder / "palette.gif", mode="P")
    tiny.picture(folder / "web.webp", lossless=True)
    tiny.picture(folder / "colours.bmp")
    deep = np.asarray(tiny.drawing().convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    tiny.drawing(size=(20_000, 3)).save(folder / "line.png")
    tiny.drawing(size=(3, 20_000)).save(folder / "post.png")


def test_pictures_of_every_kind(asking: Ask, tmp_path: Path) -> None:
    odd(tmp_path / "odd")
    request = asking(tmp_path / "odd")
    found = explain_pictures(request)
    assert found.failures == ()
    assert found.made == 12
    for path in request.out.glob("*.npz"):
        with np.load(path, allow_pickle=False) as maps:
            assert maps["pixels"].shape == (tiny.SIDE, tiny.SIDE, 3)
            assert np.isfinite(maps["bbp"]).all()
    grey, deep = (np.load(request.out / f"{name}.npz")["pixels"] for name in ("grey", "deep"))
    assert np.abs(grey.astype(int) - deep).max() <= 1
    dot = np.load(request.out / "dot.npz")["pixels"]
    assert (dot == [255, 0, 0]).all()


def test_a_turned_picture_is_turned_upright(asking: Ask, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    tiny.picture(tmp_path / "in" / "lying.png", exif=exif)
    upright = tiny.drawing().transpose(Image.Transpose.ROTATE_270)
    upright.save(tmp_path / "in" / "standing.png")
    request = asking(tmp_path / "in")
    explain_pictures(request)
    lying, standing = (np.load(request.out / f"{name}.npz") for name in ("lying", "standing"))
    assert all(np.array_equal(lying[key], standing[key]) for key in standing.files)


def test_a_name_that_is_no_text_is_left_out(asking: Ask, tmp_path: Path) -> None:
    tiny.picture(tmp_path / "in" / "plain.png")
    tiny.picture(tmp_path / "named.png").rename(tmp_path / "in" / os.fsdecode(b"caf\xe9.png"))
    found = explain_pictures(asking(tmp_path / "in", formats=("png",)))
    assert found.made == 1
    assert ["its name is not UTF-8" in failure for failure in found.failures] == [True]
    assert r"caf\udce9.png cannot be used" in found.page.read_text(encoding="utf-8")


# Matplotlib's own font has no such letters and warns; the files are there all the same.
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", ["猫.png", "a\nb.png"])
def test_names_in_any_letters(asking: Ask, tmp_path: Path, name: str) -> None:
    tiny.picture(tmp_path / "plain.png").rename(tmp_path / name)
    request = asking(tmp_path / name, formats=("png", "npz"))
    found = explain_pictures(request)
    assert (found.made, found.failures) == (1, ())
    assert json.loads(next(request.out.glob("*.json")).read_text(encoding="utf-8"))["bias"]


@pytest.mark.parametrize(("waiting", "bounded"), [(run.WAITING, True), (99, False)])
def test_memory_does_not_grow_with_the_pictures(
    asking: Ask, tmp_path: Path, monkeypatch, waiting: int, bounded: bool
) -> None:
    for seed in range(8):
        tiny.picture(tmp_path / "in" / f"{seed}.png", seed)
    results: list[weakref.ref] = []
    alive: list[int] = []

    def explain(self: Explainer, path: Path):
        alive.append(sum(ref() is not None for ref in results))
        found = original(self, path)
        results.append(weakref.ref(found))
        return found

    def slowly(*args):
        time.sleep(0.08)
        return output.write(*args)

    original = Explainer.explain
    monkeypatch.setattr(Explainer, "explain", explain)
    monkeypatch.setattr(run, "write", slowly)
    monkeypatch.setattr(run, "WAITING", waiting)
    assert explain_pictures(asking(tmp_path / "in")).made == 8
    # The one that was written last may not have been let go of yet.
    assert (1 <= max(alive) <= 2 + 1) == bounded
    gc.collect()
    assert not any(ref() is not None for ref in results)
