"""Maps, records and pages of pictures: what they say, and what is made anew."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from biasmatters.config import extras, methods_named
from biasmatters.pictures import Extra, PictureRequestError, Request, explain_pictures
from biasmatters.pictures.output import MARK
from biasmatters.types import Attribution
from tests.pictures import tiny

Ask = Callable[..., Request]
MAPS = {"gradient", "input_x_gradient", "bbp", "input_x_gradient_plus_bbp"}


def record(request: Request, name: str) -> dict:
    return json.loads((request.out / f"{name}.json").read_text(encoding="utf-8"))


def arrays(request: Request, name: str) -> dict[str, np.ndarray]:
    with np.load(request.out / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("rule", ["softmax_neg_abs", "proportional"])
def test_maps_add_up_to_what_the_record_says(asking: Ask, rule: str) -> None:
    request = asking(rule=rule, formats=("npz", "safetensors"))
    assert explain_pictures(request).made == 3
    for name in ("cat", "cup", "deep/rocket"):
        maps, about = arrays(request, name), record(request, name)
        assert set(maps) == MAPS | {"pixels"}
        assert {maps[key].shape for key in MAPS} == {(3, tiny.SIDE, tiny.SIDE)}
        assert {maps[key].dtype.name for key in MAPS} == {"float32"}
        sums = {key: maps[key].sum(dtype=np.float64) for key in MAPS}
        assert sums["input_x_gradient"] == pytest.approx(about["linear"], abs=2e-5)
        assert sums["bbp"] == pytest.approx(about["bias"], abs=2e-5)
        assert sums["input_x_gradient_plus_bbp"] == pytest.approx(about["output"], abs=2e-5)
        assert abs(about["bias"]) > 0.1
        assert about["bias_share"] == pytest.approx(about["bias"] / about["output"])
        path = request.out / f"{name}.safetensors"
        assert all(np.array_equal(values, maps[key]) for key, values in load_file(path).items())
        with safe_open(path, "numpy") as file:
            assert set(file.keys()) == set(maps)
            assert json.loads(file.metadata()["record"]) == about


def test_the_gradient_is_autograds_at_the_picture_as_the_network_sees_it(asking: Ask) -> None:
    request = asking()
    explain_pictures(request)
    maps, about = arrays(request, "cat"), record(request, "cat")
    x = tiny.as_input(maps["pixels"]).requires_grad_()
    output = tiny.network()(x)[0].max()
    (gradient,) = torch.autograd.grad(output, x)
    logits = tiny.network()(x)[0].detach()
    assert about["class"]["index"] == int(logits.argmax())
    assert about["class"]["logit"] == pytest.approx(float(logits.max()), abs=1e-5)
    assert about["output"] == pytest.approx(float(logits.max()), abs=1e-5)
    assert about["class"]["probability"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-5)
    np.testing.assert_allclose(maps["gradient"], gradient[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(
        maps["input_x_gradient"], (gradient * x.detach())[0].numpy(), atol=1e-6
    )


def test_the_class_is_the_one_asked_for(asking: Ask) -> None:
    request = asking(target="egyptian CAT", out=Path(asking().out / "named"))
    explain_pictures(request)
    about = record(request, "cup")
    assert (about["class"]["name"], about["class"]["index"]) == ("Egyptian cat", 10)
    logits = tiny.network()(tiny.as_input(arrays(request, "cup")["pixels"]))[0].detach()
    assert about["output"] == pytest.approx(float(logits[10]), abs=1e-5)
    assert [g["index"] for g in about["guesses"]] == logits.topk(5).indices.tolist()
    third = asking(target="top3")
    explain_pictures(third)
    assert record(third, "cup")["class"] == about["guesses"][2]


def test_the_same_call_gives_the_same_bytes(asking: Ask, tmp_path: Path) -> None:
    first, second = (asking(out=tmp_path / name) for name in "ab")
    for request in (first, second):
        explain_pictures(request)
    for path in first.out.rglob("*.*"):
        assert path.read_bytes() == (second.out / path.relative_to(first.out)).read_bytes()


def test_figures_of_the_picture_and_of_its_layers(asking: Ask, photos: Path) -> None:
    request = asking(photos / "cat.png", layers=True, formats=("png", "pdf"))
    explain_pictures(request)
    found = {path.name for path in request.out.iterdir()} - {MARK}
    ends = {"png", "pdf", "layers.png", "layers.pdf", "json"}
    assert found == {f"cat.{end}" for end in ends} | {"index.html", "summary.csv"}
    for path in request.out.glob("*.p*"):
        assert path.read_bytes()[:4] == (b"\x89PNG" if path.suffix == ".png" else b"%PDF")
    page = (request.out / "index.html").read_text(encoding="utf-8")
    assert 'src="cat.png"' in page
    assert 'src="cat.layers.png"' in page


def test_a_configured_method_is_mapped_beside_bbp(asking: Ask) -> None:
    more = tuple(extras(methods_named(["grad_cam", "input_x_gradient_plus_bbp", "bbp"])))
    assert [extra.name for extra in more] == ["grad_cam", "input_x_gradient_plus_bbp"]
    request = asking(more=more)
    explain_pictures(request)
    maps = arrays(request, "cat")
    assert set(maps) == MAPS | {"pixels", "grad_cam"}
    whole = maps["bbp"] + maps["input_x_gradient"]
    np.testing.assert_allclose(maps["input_x_gradient_plus_bbp"], whole, atol=1e-5)
    assert record(request, "cat")["more"] == ["grad_cam", "input_x_gradient_plus_bbp"]


class Halves:
    """A method that says 0.5 everywhere, and notes which class it was asked about."""

    def __init__(self, model: object) -> None:
        self.asked: list[int] = []

    def explain(self, x, target) -> Attribution:
        self.asked.append(target)
        return Attribution.without_total(x * 0 + 0.5, None)


def test_any_method_will_do(asking: Ask) -> None:
    made = []

    def make(model: object) -> Halves:
        made.append(Halves(model))
        return made[-1]

    request = asking(more=(Extra("halves", make),), target="sock")
    explain_pictures(request)
    assert len(made) == 1
    assert made[0].asked == [11, 11, 11]
    assert (arrays(request, "cup")["halves"] == 0.5).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formats": ("png", "gif")}, "formats: gif; choose some of png, pdf, npz, safetensors"),
        ({"formats": ()}, "formats: nothing; choose"),
        ({"formats": ("npz",), "layers": True}, "add png or pdf to the formats"),
    ],
)
def test_what_cannot_be_written_is_refused(options: dict, words: str) -> None:
    with pytest.raises(PictureRequestError, match=words):
        Request(["a.png"], Path("out"), **options)


def test_a_device_that_is_none_is_named(asking: Ask) -> None:
    for device in ("nonsense", "xpu:7"):
        with pytest.raises(PictureRequestError, match=f"device {device}"):
            explain_pictures(asking(device=device))


def test_the_table_has_a_line_for_every_picture(asking: Ask) -> None:
    request = asking()
    explain_pictures(request)
    with (request.out / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["cat", "cup", "deep/rocket"]
    about = record(request, "deep/rocket")
    assert rows[2]["class"] == about["class"]["name"]
    assert float(rows[2]["bias"]) == about["bias"]
    assert rows[2]["network"] == "tiny"


def test_names_are_escaped_and_links_quoted(asking: Ask, tmp_path: Path) -> None:
    names = ("<b>.png", "a #1?.png", "$6^$.png", "ä&.png")
    for name in names:
        tiny.picture(tmp_path / "odd" / name)
    request = asking(tmp_path / "odd", formats=("png",))
    assert explain_pictures(request).failures == ()
    page = (request.out / "index.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert 'src="%3Cb%3E.png"' in page
    assert 'alt="&lt;b&gt; explained' in page
    assert 'href="a%20%231%3F.png"' in page
    assert 'src="%C3%A4%26.png"' in page
    assert all((request.out / name).is_file() for name in names)
