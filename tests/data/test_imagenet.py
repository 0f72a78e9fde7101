"""ImageNet's layouts, labels, limits and what is not decoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from biasmatters.data import (
    DataNotFoundError,
    ImageNetData,
    InvalidDataOptionError,
    TensorImages,
    UnreadableImageError,
    picture_files,
    preparation,
    read_photograph,
)
from biasmatters.data.imagenet_classes import categories, class_index, wnids
from biasmatters.data.split import subset

TENCH, HEN, TOILET_TISSUE = "n01440764", "n01514859", "n15075141"
PLACES = {TENCH: 0, HEN: 8, TOILET_TISSUE: 999}


def load(root: Path, **options: object):
    small = {"resize": 12, "image_size": (10, 8), "validation": 0}
    return ImageNetData(root=str(root), **{**small, **options}).load()


def test_wnids_are_timms_and_sorted():
    assert len(wnids()) == len(set(wnids())) == 1000
    assert list(wnids()) == sorted(wnids())
    data = pytest.importorskip("timm.data", reason="timm is not installed")
    info = data.ImageNetInfo("imagenet-1k")
    assert list(wnids()) == info.label_names()


def test_labels_are_those_of_known_classes():
    assert {wnid: class_index(wnid) for wnid in PLACES} == PLACES
    assert [categories()[label] for label in PLACES.values()] == ["tench", "hen", "toilet tissue"]
    assert len(categories()) == 1000
    with pytest.raises(InvalidDataOptionError, match=r"'n00000000'.*1000 classes"):
        class_index("n00000000")


@pytest.mark.parametrize("top", ["", "val/", "ILSVRC/Data/CLS-LOC/", "ILSVRC/Data/CLS-LOC/val/"])
def test_labels_are_places_among_all_classes_though_some_are_missing(make, tmp_path, top):
    root = make.pictures(tmp_path / "d", {f"{top}{wnid}": 2 for wnid in reversed(PLACES)})
    data = load(root)
    assert data.test.labels.tolist() == [0, 0, 8, 8, 999, 999]
    assert data.test.ids.tolist() == list(range(6))
    assert data.classes == categories()
    assert (len(data.train), len(data.validation)) == (0, 0)
    assert (data.channels, data.size, data.note) == (3, (10, 8), "")


def test_train_and_val(make, tmp_path):
    folders = {f"train/{TENCH}": 4, f"train/{HEN}": 3, f"val/{HEN}": 2}
    data = load(make.pictures(tmp_path / "d", folders), validation=2)
    assert [len(x) for x in (data.train, data.validation, data.test)] == [5, 2, 2]
    assert (
        sorted([*data.train.labels.tolist(), *data.validation.labels.tolist()]) == [0] * 4 + [8] * 3
    )
    assert data.test.labels.tolist() == [8, 8]


def flat(root: Path, val: Path, wnids_in_order: list[str]) -> list[Path]:
    """Validation pictures as published, each of a colour of its own."""
    val.mkdir(parents=True)
    paths = [val / f"ILSVRC2012_val_{i:08}.JPEG" for i in range(1, len(wnids_in_order) + 1)]
    for i, path in enumerate(paths):
        Image.new("RGB", (20, 20), (60 * i, 0, 0)).save(path)
    return paths


ORDER = [TOILET_TISSUE, TENCH, HEN, TENCH]


def test_kaggles_layout(tmp_path):
    flat(tmp_path, tmp_path / "ILSVRC/Data/CLS-LOC/val", ORDER)
    rows = [f"ILSVRC2012_val_{i:08},{wnid} 1 2 3 4 " for i, wnid in enumerate(ORDER, 1)]
    lines = ["ImageId,PredictionString", *reversed(rows)]
    solution = tmp_path / "LOC_val_solution.csv"
    solution.write_text("\n".join(lines))
    data = load(tmp_path)
    assert data.test.labels.tolist() == [999, 0, 8, 0]
    assert data.test.pixels[:, 0, 0, 0].tolist() == pytest.approx([0, 60, 120, 180], abs=3)
    solution.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataNotFoundError, match="nothing tells the class of pictures in val/"):
        load(tmp_path)
    solution.write_text("ImageId,PredictionString\nx,n123 1 2 3 4")
    with pytest.raises(DataNotFoundError, match=r"n123.*intact copy"):
        load(tmp_path)


def test_flat_val_with_the_devkit(tmp_path):
    from scipy.io import savemat

    flat(tmp_path, tmp_path / "val", ORDER)
    with pytest.raises(DataNotFoundError, match=r"put Kaggle's LOC_val_solution\.csv"):
        load(tmp_path)
    devkit = tmp_path / "ILSVRC2012_devkit_t12/data"
    devkit.mkdir(parents=True)
    ids = {TENCH: 3, TOILET_TISSUE: 1, HEN: 2, "n00001740": 1001}
    synsets = np.zeros((len(ids), 1), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (wnid, number) in enumerate(ids.items()):
        synsets[row, 0] = (number, wnid, "some words")
    savemat(devkit / "meta.mat", {"synsets": synsets})
    truth = devkit / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("".join(f"{ids[wnid]}\n" for wnid in ORDER))
    assert load(tmp_path).test.labels.tolist() == [999, 0, 8, 0]
    (devkit / "meta.mat").write_bytes(b"damaged")
    with pytest.raises(DataNotFoundError, match="cannot be read"):
        load(tmp_path)


def test_folders_of_no_class_are_left_out_with_a_warning(make, tmp_path, caplog):
    folders = {f"val/{HEN}": 1, "val/n00000001": 1, "val/zebra": 1, "val/.hidden": 1}
    data = load(make.pictures(tmp_path / "d", folders))
    assert data.test.labels.tolist() == [8]
    assert "left out: n00000001, zebra" in caplog.text
    caplog.clear()
    load(make.pictures(tmp_path / "e", {f"val/{HEN}": 1}))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        ({"val/cat": 1, "val/dog": 1}, "but folders cat, dog"),
        ({"cat": 1}, "but folders cat"),
        ({f"train/{HEN}": 1}, "no val/"),
        ({f"val/{HEN}": 0}, "no pictures"),
        ({}, "no such folder"),
    ],
)
def test_what_is_no_imagenet_is_named(make, tmp_path, folders, why):
    root = make.pictures(tmp_path / "d", folders)
    with pytest.raises(DataNotFoundError, match=rf"{why}[\s\S]*root=FOLDER"):
        load(root)


def test_it_is_found_below_a_parent_and_the_environments_folder(make, tmp_path, monkeypatch):
    make.pictures(tmp_path / "all/imagenet", {f"val/{HEN}": 1})
    make.pictures(tmp_path / "all/imagenet_sample", {f"val/{TENCH}": 1})
    assert load(tmp_path / "all").test.labels.tolist() == [8]
    assert load(tmp_path / "all/imagenet_sample").test.labels.tolist() == [0]
    with pytest.raises(DataNotFoundError, match="neither root nor"):
        ImageNetData().load()
    monkeypatch.setenv("BIASMATTERS_DATA", str(tmp_path / "all"))
    assert ImageNetData().load().test.labels.tolist() == [8]


def test_pixels_and_inputs_are_torchvisions(make, tmp_path):
    root = make.pictures(tmp_path / "d", {f"val/{HEN}": 1}, size=(300, 400))
    data = ImageNetData(root=str(root), normalization="standard").load()
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = theirs(read_photograph(root / f"val/{HEN}/000.png"))
    torch.testing.assert_close(data.test[0][0], expected, rtol=1e-5, atol=1e-5)
    unit = replace(ImageNetData(root=str(root)), normalization="unit").load()
    assert torch.equal(unit.test.pixels, data.test.pixels)
    assert unit.test[0][0].max() <= 1


def test_a_networks_own_preprocessing_goes_first(make, tmp_path):
    root = make.pictures(tmp_path / "d", {f"val/{HEN}": 1}, size=(60, 50))
    own = {"resize": 30, "crop": 24, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [1] * 3}
    data = load(root, preprocessing=own, normalization="standard")
    theirs = transforms.Compose(
        [
            transforms.Resize(30, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(24),
            transforms.PILToTensor(),
        ]
    )
    assert torch.equal(data.test.pixels[0], theirs(read_photograph(root / f"val/{HEN}/000.png")))
    assert data.normalization.mean == (0.5, 0.5, 0.5)
    assert load(root, preprocessing={"resize": 10}).size == (10, 8)
    assert hash(ImageNetData(preprocessing=own)) == hash(
        ImageNetData(preprocessing=list(own.items()))
    )


@pytest.mark.parametrize(
    "options",
    [
        {"resize": 223},
        {"image_size": (224, 257)},
        {"interpolation": "nearest"},
        {"mean": (0.5,)},
        {"preprocessing": {"crop": 300}},
        {"preprocessing": {"crop_pct": 0.9}},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(InvalidDataOptionError):
        ImageNetData(root="anywhere", **options)


def counted(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    seen: list[str] = []

    def noting(path: Path, **options: int) -> Image.Image:
        seen.append(path.relative_to(root).as_posix())
        return read_photograph(path, **options)

    monkeypatch.setattr(preparation, "read_photograph", noting)
    return seen


def test_training_pictures_are_not_touched_until_they_are_used(make, tmp_path, monkeypatch):
    folders = {f"{split}/{wnid}": 8 for split in ("train", "val") for wnid in (TENCH, HEN)}
    root = make.pictures(tmp_path / "d", folders)
    seen = counted(monkeypatch, root)
    hashed: list[str] = []
    hashes = picture_files.content_hashes
    monkeypatch.setattr(
        picture_files, "content_hashes", lambda *a: hashed.extend(a[1]) or hashes(*a)
    )
    data = load(root, test_limit=3, train_limit=5, validation=4)
    names = [f"val/{wnid}/{i:03}.png" for wnid in (TENCH, HEN) for i in range(8)]
    chosen = [names[i] for i in subset(16, 3).tolist()]
    assert sorted(seen) == hashed == chosen
    assert torch.equal(data.test.ids, subset(16, 3))
    assert len(data.train) == 5
    assert len(seen) == 3 + 5
    assert len(data.validation) == 4
    assert len(seen) == 3 + 5 + 4
    assert all(name.startswith("train/") for name in seen[3:])
    assert not set(data.train.ids.tolist()) & set(data.validation.ids.tolist())


def test_an_image_id_names_the_same_picture_whatever_the_limit(make, tmp_path):
    root = make.pictures(tmp_path / "d", {f"val/{wnid}": 7 for wnid in PLACES})
    whole, some, more = (load(root, test_limit=limit).test for limit in (None, 4, 9))
    assert set(some.ids.tolist()) < set(more.ids.tolist()) < set(whole.ids.tolist())
    for part in (some, more):
        assert torch.equal(part.pixels, whole.pixels[part.ids])
        assert torch.equal(part.labels, whole.labels[part.ids])
        batch = part.batch(torch.tensor([2, 0]))
        assert torch.equal(batch.ids, part.ids[[2, 0]])
        assert torch.equal(batch.images, whole.batch(batch.ids).images)


def test_the_fingerprint_follows_what_is_chosen(make, tmp_path):
    folders = {f"{split}/{HEN}": 6 for split in ("train", "val")}
    root = make.pictures(tmp_path / "d", folders)
    whole, some = load(root).fingerprint, load(root, test_limit=2).fingerprint
    assert load(make.pictures(tmp_path / "e", folders)).fingerprint == whole != some
    (chosen,) = subset(6, 1).tolist()
    other = root / f"val/{HEN}/{min(set(range(6)) - set(subset(6, 2).tolist())):03}.png"
    other.write_bytes((root / f"val/{HEN}/{chosen:03}.png").read_bytes())
    assert load(root, test_limit=2).fingerprint == some
    assert load(root).fingerprint != whole
    training = root / f"train/{HEN}/000.png"
    training.write_bytes(training.read_bytes() + b"more")
    assert load(root, test_limit=2).fingerprint != some


def test_unreadable_pictures_are_left_out_named_and_counted(make, tmp_path, caplog):
    root = make.pictures(tmp_path / "d", {f"val/{TENCH}": 3, f"train/{TENCH}": 4})
    for name in ("val/{}/001.png", "train/{}/002.png"):
        (root / name.format(TENCH)).write_bytes(b"no picture")
    data = load(root)
    assert data.note == "1 unreadable picture left out"
    assert data.test.ids.tolist() == [0, 2]
    assert [m.count("001.png is left out: it is no JPEG") for m in caplog.messages] == [1]
    assert isinstance(data.train, TensorImages)
    assert (len(data.train), data.train.ids.tolist()) == (3, [0, 1, 3])
    assert "002.png is left out" in caplog.messages[1]
    for path in (root / f"val/{TENCH}").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match="nor can any of the other 2"):
        load(root)


@pytest.mark.slow
def test_real_pictures(real_data):
    root = real_data / "imagenet_sample"
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is not there")
    data = ImageNetData(root=str(root)).load()
    folders = sorted(path.name for path in (root / "val").iterdir())
    assert data.test.labels.tolist() == [wnids().index(name) for name in folders]
    assert len(set(data.test.labels.tolist())) == len(data.test) == 500
    assert data.test.pixels.shape == (500, 3, 224, 224)
    # Photographs, not grey rows: the mean colour is about ImageNet's.
    mean = data.test.pixels.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(
        mean, torch.tensor([0.485, 0.456, 0.406]).double(), atol=0.03, rtol=0
    )
    assert data.note == ""
