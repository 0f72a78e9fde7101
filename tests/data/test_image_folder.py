from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biasmatters.data import (
    CIFAR10,
    DataNotFoundError,
    ImageFolderData,
    InvalidDataOptionError,
    Normalization,
    UnreadableImageError,
    array_cache,
    folder_hashes,
    picture_files,
    preparation,
    prepare_photograph,
    read_photograph,
)
from biasmatters.data.split import subset


def load(root: Path, **options: object):
    return ImageFolderData(root=str(root), **{"validation": 0, **options}).load()


def test_three_splits(make, tmp_path):
    folders = {f"{s}/{c}": n for s, n in (("train", 5), ("val", 2), ("test", 3)) for c in "ba"}
    data = load(make.pictures(tmp_path / "d", folders))
    assert data.classes == ("a", "b")
    assert [len(x) for x in (data.train, data.validation, data.test)] == [10, 4, 6]
    assert data.train.labels.tolist() == [0] * 5 + [1] * 5
    assert (data.channels, data.size, data.note) == (3, (8, 6), "")


def test_held_out_images_come_from_training_if_the_folder_has_none(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2})
    data = load(root, validation=4)
    assert [len(x) for x in (data.train, data.validation, data.test)] == [8, 4, 4]
    assert not set(data.train.ids.tolist()) & set(data.validation.ids.tolist())


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_only_one_split_is_for_testing(make, tmp_path, name):
    data = load(make.pictures(tmp_path / "d", {f"{name}/a": 3, f"{name}/b": 2}), validation=2)
    assert [len(x) for x in (data.train, data.validation, data.test)] == [0, 0, 5]


@pytest.mark.parametrize("top", ["", "train/"])
def test_without_a_test_folder_a_fixed_share_is_held_out(make, tmp_path, top):
    root = make.pictures(tmp_path / "d", {f"{top}a": 10, f"{top}b": 10})
    first, second = load(root, test_fraction=0.3), load(root, test_fraction=0.3)
    assert (len(first.train), len(first.test)) == (14, 6)
    assert torch.equal(first.test.pixels, second.test.pixels)
    together = {p.numpy().tobytes() for p in (*first.train.pixels, *first.test.pixels)}
    assert len(together) == 20


def test_pixels_are_those_of_the_file(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"test/a": 2, "test/b": 1})
    expected = np.asarray(Image.open(root / "test/a/001.png")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(load(root).test[1][0].numpy(), expected, rtol=1e-6)


def test_large_pictures_are_scaled_and_cropped_at_the_centre(tmp_path):
    (tmp_path / "d/test/a").mkdir(parents=True)
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, 40:80] = 255
    Image.fromarray(pixels).save(tmp_path / "d/test/a/x.png")
    data = load(tmp_path / "d", image_size=16)
    assert data.size == (16, 16)
    assert data.test.pixels.float().mean() > 250
    wide = load(tmp_path / "d", image_size=(8, 24)).test.pixels.float()
    assert wide.shape == (1, 3, 8, 24)
    assert wide[..., :6].mean() < 5
    assert wide[..., 10:14].mean() > 250


def test_grey_pictures(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"test/a": 2})
    assert load(root, channels=1).test[0][0].shape == (1, 8, 6)


def test_pictures_of_several_sizes_need_an_image_size(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"test/a": 2})
    make.pictures(root, {"test/b": 1}, size=(9, 6))
    with pytest.raises(UnreadableImageError, match=r"b/000\.png.*9 x 6.*image_size"):
        load(root)
    assert load(root, image_size=8).size == (8, 8)


@pytest.mark.parametrize(("kept", "why"), [(0, "empty"), (60, "damaged")])
def test_unreadable_pictures_are_left_out_and_named(make, tmp_path, caplog, kept, why):
    root = make.pictures(tmp_path / "d", {"train/a": 2, "test/a": 3, "test/b": 1})
    whole = load(root)
    for broken in (root / "test/a/000.png", root / "train/a/001.png"):
        broken.write_bytes(broken.read_bytes()[:kept])
    for _ in ("decoded", "cached"):
        caplog.clear()
        data = load(root)
        assert data.note == "2 unreadable pictures left out"
        assert data.test.ids.tolist() == [1, 2, 3]
        assert data.test.labels.tolist() == [0, 0, 1]
        assert torch.equal(data.test.pixels, whole.test.pixels[1:])
        assert torch.equal(data.test[2][0], whole.test[3][0])
        assert data.train.ids.tolist() == [0]
        assert [message.count(why) for message in caplog.messages] == [1, 1]
        assert all(f"{name}.png" in caplog.text for name in ("test/a/000", "train/a/001"))
        assert data.fingerprint != whole.fingerprint


@pytest.mark.parametrize("image_size", [None, 4])
def test_without_any_readable_picture_there_is_an_error(make, tmp_path, image_size):
    root = make.pictures(tmp_path / "d", {"test/a": 2})
    for path in (root / "test/a").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"000\.png.*is no JPEG"):
        load(root, image_size=image_size)


def test_mean_and_std_are_those_of_the_readable_training_pictures(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"train/a": 4, "test/a": 1})
    (root / "train/a/002.png").write_bytes(b"no picture")
    data = load(root, normalization="standard")
    assert (data.train.ids.tolist(), data.note) == ([0, 1, 3], "1 unreadable picture left out")
    x = data.train.batch(torch.arange(3)).images
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_with_limits_only_the_pictures_chosen_are_hashed_and_decoded(make, tmp_path, monkeypatch):
    root = make.pictures(tmp_path / "d", {"train/a": 9, "test/a": 9, "test/b": 9})
    whole = load(root, image_size=4)
    hashed, decoded = [], []
    monkeypatch.setenv("BIASMATTERS_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(folder_hashes, "sha256_of", _seen(hashed, folder_hashes.sha256_of))
    monkeypatch.setattr(preparation, "read_photograph", _seen(decoded, read_photograph))
    some = load(root, image_size=4, test_limit=5, train_limit=2)
    chosen = subset(18, 5)
    assert torch.equal(some.test.ids, chosen)
    assert torch.equal(some.test.labels, whole.test.labels[chosen])
    assert torch.equal(some.test.pixels, whole.test.pixels[chosen])
    assert torch.equal(some.train.ids, subset(9, 2))
    files = {f"test/{'ab'[i // 9]}/{i % 9:03}.png" for i in chosen.tolist()}
    files |= {f"train/a/{i:03}.png" for i in some.train.ids.tolist()}
    for seen in (hashed, decoded):
        assert sorted(path.relative_to(root).as_posix() for path in seen) == sorted(files)
    assert some.test.select(chosen[:2]).ids.tolist() == chosen[:2].tolist()
    other = min(set(range(18)) - set(chosen.tolist()))
    with pytest.raises(IndexError, match=f"Image {other} is not among the 5"):
        _ = some.test.select(torch.tensor([other])).pixels


def _seen(paths: list[Path], function):
    def noting(path: Path, **options: object):
        paths.append(path)
        return function(path, **options)

    return noting


def test_too_many_pictures_for_the_memory_are_refused(make, tmp_path, monkeypatch):
    root = make.pictures(tmp_path / "d", {"test/a": 4})
    monkeypatch.setattr(picture_files, "_memory", lambda: 3 * 3 * 8 * 6)
    with pytest.raises(InvalidDataOptionError, match=r"4 pictures from .*test_limit"):
        load(root)
    assert len(load(root, test_limit=3).test) == 3


OWN = {"resize": 20, "crop": [16, 12], "mean": [0.5, 0.4, 0.3], "std": (0.2, 0.2, 0.1)}


def test_a_networks_own_preprocessing_goes_first(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"test/a": 1}, size=(40, 30))
    options = {"image_size": 8, "mean": [0.0] * 3, "std": [1.0] * 3}
    data = load(root, preprocessing=OWN, normalization="standard", **options)
    picture = read_photograph(root / "test/a/000.png")
    assert data.normalization == Normalization("standard", tuple(OWN["mean"]), OWN["std"])
    expected = prepare_photograph(picture, 20, (16, 12), "bilinear")
    assert torch.equal(data.test.pixels[0], torch.tensor(expected).permute(2, 0, 1))
    other = load(root, preprocessing={**OWN, "interpolation": "bicubic"}).test.pixels
    assert not torch.equal(data.test.pixels, other)


def test_options_with_a_preprocessing_are_hashable_and_can_be_copied():
    first = ImageFolderData(root="a", preprocessing=OWN)
    second = ImageFolderData(root="a", preprocessing=dict(reversed(OWN.items())))
    assert (first, hash(first)) == (second, hash(second))
    assert replace(first, test_limit=None) == first
    assert first != ImageFolderData(root="a", preprocessing={**OWN, "resize": 21})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"resize": 15}, "resize=15"),
        ({"crop": [16]}, "crop="),
        ({"interpolation": "nearest"}, "bilinear or bicubic"),
        ({"size": 3}, "no size"),
    ],
)
def test_a_wrong_preprocessing_is_refused(change, word):
    with pytest.raises(InvalidDataOptionError, match=word):
        ImageFolderData(root="a", preprocessing={**OWN, **change})


@pytest.mark.parametrize("missing", ["resize", "crop", "mean", "std"])
def test_an_incomplete_preprocessing_is_refused(missing):
    given = {key: value for key, value in OWN.items() if key != missing}
    with pytest.raises(InvalidDataOptionError, match="both"):
        ImageFolderData(root="a", preprocessing=given)


def test_nothing_is_read_or_decoded_twice(make, tmp_path, monkeypatch):
    root = make.pictures(tmp_path / "d", {"train/a": 4, "test/a": 3})
    first = load(root)
    monkeypatch.setattr(folder_hashes, "sha256_of", _forbidden)
    monkeypatch.setattr(preparation, "read_photograph", _forbidden)
    second = load(root)
    assert first.fingerprint == second.fingerprint
    assert torch.equal(first.test.pixels, second.test.pixels)


def _forbidden(path: Path, **options: object) -> None:
    raise AssertionError(f"{path} was read again")


def test_fingerprint_follows_names_and_contents(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"train/a": 3, "test/a": 3})
    seen = [load(root).fingerprint]
    path = root / "test/a/001.png"
    stat = path.stat()
    Image.fromarray(np.zeros((8, 6, 3), dtype=np.uint8)).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    changed = load(root)
    seen.append(changed.fingerprint)
    assert changed.test.pixels[1].max() == 0
    path.rename(root / "test/a/zzz.png")
    seen.append(load(root).fingerprint)
    assert len(set(seen)) == 3


def test_fingerprint_does_not_depend_on_the_place(make, tmp_path):
    prints = [
        load(make.pictures(tmp_path / place, {"train/a": 3, "test/a": 3})).fingerprint
        for place in ("here", "there")
    ]
    assert prints[0] == prints[1]


def test_damaged_arrays_in_the_cache_are_made_again(make, tmp_path, own_cache):
    root = make.pictures(tmp_path / "d", {"train/a": 4, "test/a": 3})
    expected = load(root).test.pixels.clone()
    arrays = sorted(own_cache.rglob("*.npy"))
    assert [array.stem for array in arrays] == ["images", "lost"] * 2
    damaged = {}
    for array in arrays:
        content = bytearray(array.read_bytes())
        content[-1] ^= 255
        array.write_bytes(content)
        damaged[array] = bytes(content)
    assert torch.equal(load(root).test.pixels, expected)
    assert all(array.read_bytes() != content for array, content in damaged.items())


def test_an_unwritable_cache_costs_time_only(make, tmp_path, caplog):
    root = make.pictures(tmp_path / "d", {"train/a": 4, "test/a": 3})
    (tmp_path / "file").write_text("")
    assert len(load(root, cache=str(tmp_path / "file")).test) == 3
    assert "could not be kept" in caplog.text


def test_array_cache_keeps_entries_apart(tmp_path):
    for value in (1, 2):
        key = str(value) * 64
        made = array_cache.load_or_make(tmp_path, key, lambda v=value: {"x": np.full(3, v)})
        assert made["x"].tolist() == [value] * 3
    assert array_cache.load(tmp_path, "3" * 64) is None
    found = array_cache.load(tmp_path, "1" * 64)
    assert found is not None
    assert found["x"].tolist() == [1, 1, 1]


def test_standard_normalization_is_that_of_the_training_images(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"train/a": 5, "test/a": 3})
    data = load(root, normalization="standard", train_limit=2)
    whole = load(root, normalization="standard")
    assert data.normalization == whole.normalization
    x = whole.train.batch(torch.arange(5)).images
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3))


def test_standard_without_training_images_needs_mean_and_std(make, tmp_path):
    root = make.pictures(tmp_path / "d", {"val/a": 3})
    with pytest.raises(InvalidDataOptionError, match="give mean and std"):
        load(root, normalization="standard")
    given = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    assert load(root, normalization="standard", **given).normalization.std == (0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 0},
        {"image_size": (3, 4, 5)},
        {"channels": 2},
        {"test_fraction": 1.0},
        {"mean": (0.5,)},
    ],
)
def test_bad_options_of_a_folder(options):
    with pytest.raises(InvalidDataOptionError):
        ImageFolderData(root="anywhere", **options)


def test_options_are_hashable_though_given_as_lists():
    assert hash(ImageFolderData(root="a", image_size=[4, 4])) == hash(
        ImageFolderData(root="a", image_size=(4, 4))
    )


@pytest.mark.parametrize("kind", ["missing", "empty", "none"])
def test_a_folder_without_pictures_is_not_found(tmp_path, kind):
    (tmp_path / "empty" / "a").mkdir(parents=True)
    root = None if kind == "none" else str(tmp_path / kind)
    with pytest.raises(DataNotFoundError, match="root=FOLDER"):
        ImageFolderData(root=root).load()


def test_cifar10_takes_an_image_folder_of_copies(make, tmp_path):
    folders = {f"{s}/{c}": 2 for s in ("train", "test") for c in CIFAR10.classes}
    make.pictures(tmp_path / "cifar10", folders, size=(32, 32), suffix=".jpg")
    data = CIFAR10(root=str(tmp_path), validation=4, normalization="standard").load()
    assert data.note == "JPEG copies"
    assert [len(x) for x in (data.train, data.validation, data.test)] == [16, 4, 20]
    assert data.normalization.mean == CIFAR10.statistics[0]


def test_cifar10_refuses_a_folder_of_other_classes(make, tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "mirrors", ())
    make.pictures(tmp_path / "cifar10", {"train/a": 2, "test/a": 2}, size=(32, 32))
    with pytest.raises(DataNotFoundError, match=r"cifar-10-binary\.tar\.gz"):
        CIFAR10(root=str(tmp_path)).load()
