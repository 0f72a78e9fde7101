"""Every kind of picture gives its colours or an error that names it."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from biasmatters.data import (
    InvalidDataOptionError,
    UnreadableImageError,
    photograph,
    prepare_photograph,
    read_photograph,
)


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def picture(height: int = 6, width: int = 9) -> Image.Image:
    return Image.fromarray(noise(height, width, 3))


def smooth(height: int = 48, width: int = 64) -> Image.Image:
    """A picture that JPEG hardly changes."""
    down, across = np.mgrid[:height, :width]
    channels = (down * 255 / height, across * 255 / width, (down + across) * 255 / (height + width))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def read(path: Path, **options: int) -> np.ndarray:
    got = read_photograph(path, **options)
    assert got.mode == "RGB"
    return np.asarray(got).astype(int)


def grey(values: object) -> np.ndarray:
    return np.repeat(np.asarray(values)[..., None], 3, axis=-1)


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "ppm"])
@pytest.mark.parametrize("kind", [str, Path])
def test_whole_colours_come_back_as_they_were(tmp_path, suffix, kind):
    path = tmp_path / f"x.{suffix}"
    picture().save(path)
    assert np.array_equal(read(kind(path)), np.asarray(picture()))


def test_formats_are_known_by_content_not_by_name(tmp_path):
    path = tmp_path / "n02105855_2933.JPEG"
    picture().save(path, format="PNG")
    assert np.array_equal(read(path), np.asarray(picture()))
    smooth().save(path, format="WEBP", lossless=True)
    assert np.array_equal(read(path), np.asarray(smooth()))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_pictures_are_turned_upright(tmp_path, orientation, suffix):
    upright = np.asarray(smooth()).astype(int)
    # How a camera in this orientation has stored the picture: EXIF 2.3, tag 0x0112.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    lossless = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {"lossless": True}
    Image.fromarray(stored.astype(np.uint8)).save(path, exif=exif, **lossless)
    assert np.abs(read(path) - upright).max() <= (6 if suffix == "jpg" else 0)


# Pillow warns when the file is opened; where warnings are errors the picture is one by name.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0nonsense"])
def test_a_damaged_exif_does_no_harm(tmp_path, exif):
    smooth().save(tmp_path / "x.jpg", exif=exif)
    assert np.abs(read(tmp_path / "x.jpg") - np.asarray(smooth())).max() < 40


def test_16_bit_grey_png_is_scaled(tmp_path):
    values = np.array([[0, 128, 257, 1000], [30000, 40000, 65000, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png"), grey(np.rint(values / 257)))


def tiff(path: Path, values: np.ndarray, bits: int, kind: int = 1, white_is_zero: int = 0) -> Path:
    """A grey TIFF written by hand: ``kind`` 1 is unsigned, 2 signed, 3 float."""
    height, width = values.shape
    data = values.tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1 - white_is_zero)]
    tags += [(273, 8), (277, 1), (278, height), (279, len(data)), (339, kind)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


@pytest.mark.parametrize(
    ("dtype", "kind", "top"),
    [("<u2", 1, 2**16 - 1), ("<i2", 2, 2**15 - 1), ("<u4", 1, 2**32 - 1), ("<i4", 2, 2**31 - 1)],
)
def test_deep_tiffs_are_scaled_by_their_depth(tmp_path, dtype, kind, top):
    shares = np.array([[0, 0.1, 0.3], [0.5, 0.9, 1]])
    values = np.floor(shares * top).astype(dtype)
    path = tiff(tmp_path / "x.tif", values, values.itemsize * 8, kind)
    assert np.abs(read(path) - grey(shares * 255)).max() <= 0.51
    assert read(path)[1, 2].tolist() == [255] * 3


def test_a_tiff_of_16_bits_may_have_white_at_zero(tmp_path):
    values = np.array([[0, 65535, 6553]], dtype=np.uint16)
    path = tiff(tmp_path / "x.tif", values, 16, white_is_zero=1)
    assert read(path)[0, :, 0].tolist() == [255, 0, 230]


def test_negative_integers_are_refused(tmp_path):
    path = tiff(tmp_path / "x.tif", np.array([[-5, 7]], dtype="<i2"), 16, 2)
    with pytest.raises(UnreadableImageError, match="down to -5"):
        read_photograph(path)


def test_floats_are_taken_from_0_to_1_only(tmp_path):
    Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)).save(tmp_path / "x.tif")
    assert read(tmp_path / "x.tif")[0, :, 1].tolist() == [0, 128, 255]
    for wrong in (-0.1, 1.5, np.nan):
        Image.fromarray(np.array([[0, wrong]], dtype=np.float32)).save(tmp_path / "x.tif")
        with pytest.raises(UnreadableImageError, match=r"floats from .*not in \[0, 1\]"):
            read_photograph(tmp_path / "x.tif")


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk(tmp_path, suffix):
    smooth().convert("CMYK").save(tmp_path / f"x.{suffix}")
    assert np.abs(read(tmp_path / f"x.{suffix}") - np.asarray(smooth())).mean() < 3


def test_an_adobe_jpeg_is_not_inverted(tmp_path):
    """As Photoshop writes it: an APP14 marker and ink stored as 255 - ink."""
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(file, format="JPEG")
    plain = file.getvalue()
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    at = plain.index(b"Adobe") - 4 if b"Adobe" in plain else 2
    marked = plain if b"Adobe" in plain else plain[:at] + adobe + plain[at:]
    (tmp_path / "x.jpg").write_bytes(marked)
    assert np.abs(read(tmp_path / "x.jpg") - [255, 0, 0]).max() < 4


def test_grey_and_black_and_white(tmp_path):
    values = noise(5, 7)
    for mode in ("L", "1"):
        shown = Image.fromarray(values).convert(mode)
        shown.save(tmp_path / "x.png")
        assert np.array_equal(read(tmp_path / "x.png"), grey(np.asarray(shown.convert("L"))))


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("RGBA", "tiff"), ("LA", "png")])
def test_what_is_transparent_is_laid_over_white(tmp_path, mode, suffix):
    values = noise(20, 20, len(mode))
    Image.fromarray(values, mode).save(tmp_path / f"x.{suffix}")
    colour = values[..., :3] if mode == "RGBA" else grey(values[..., 0])
    expected = over_white(colour.astype(float), values[..., -1].astype(float))
    assert np.abs(read(tmp_path / f"x.{suffix}") - expected).max() <= 1


def test_palettes_with_and_without_transparency(tmp_path):
    shown = picture(8, 8).quantize(5)
    colours = np.asarray(shown.convert("RGB")).astype(int)
    clear = np.asarray(shown) == 2
    assert clear.any()
    shown.save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png"), colours)
    one = np.where(clear[..., None], 255, colours)
    for suffix in ("png", "gif"):
        shown.save(tmp_path / f"x.{suffix}", transparency=2)
        assert np.array_equal(read(tmp_path / f"x.{suffix}"), one)
    shown.save(tmp_path / "x.png", transparency=bytes([255, 255, 128, 255, 255]))
    half = np.where(clear[..., None], colours / 2 + 127.5, colours)
    assert np.abs(read(tmp_path / "x.png") - half).max() <= 1


def test_a_colour_or_a_deep_grey_may_be_the_transparent_one(tmp_path):
    Image.fromarray(np.array([[[9, 8, 7], [1, 2, 3]]], dtype=np.uint8)).save(
        tmp_path / "x.png", transparency=(9, 8, 7)
    )
    assert read(tmp_path / "x.png").tolist() == [[[255] * 3, [1, 2, 3]]]
    deep = Image.fromarray(np.array([[700, 0]], dtype=np.uint16))
    deep.save(tmp_path / "x.png", transparency=700)
    assert read(tmp_path / "x.png")[0, :, 0].tolist() == [255, 0]


def test_lab_colours(tmp_path):
    shown = Image.new("LAB", (2, 1), (255, 128, 128))
    shown.putpixel((1, 0), (0, 128, 128))
    shown.save(tmp_path / "x.tif")
    assert np.abs(read(tmp_path / "x.tif")[0] - [[255] * 3, [0] * 3]).max() <= 4


def test_colours_that_pillow_cannot_convert_are_named(tmp_path, monkeypatch):
    def refuse(_: Image.Image) -> None:
        raise ValueError("conversion from X to RGB not supported")

    monkeypatch.setattr(photograph, "to_rgb", refuse)
    picture().save(tmp_path / "x.png")
    with pytest.raises(UnreadableImageError, match=r"X to RGB.*8-bit RGB"):
        read_photograph(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png"])
def test_of_several_pictures_the_first_is_taken(tmp_path, suffix):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    path = tmp_path / f"x.{suffix}"
    first.save(
        path,
        save_all=True,
        append_images=[second],
        **({"lossless": True} if suffix == "webp" else {}),
    )
    assert np.array_equal(read(path), np.asarray(first))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20000, 10), (3, 20000)])
def test_extreme_sizes(tmp_path, width, height):
    path = tmp_path / "x.png"
    Image.new("RGB", (width, height), (10, 20, 30)).save(path)
    got = read_photograph(path, smallest=512)
    assert got.size == (width, height)
    pixels = prepare_photograph(got, 256, (224, 200), "bicubic")
    assert pixels.shape == (224, 200, 3)
    assert (pixels == [10, 20, 30]).all()


def test_big_jpegs_are_reduced_but_never_below(tmp_path):
    smooth(480, 640).save(tmp_path / "x.jpg")
    for smallest, size in ((0, 480), (241, 480), (240, 240), (61, 120), (60, 60), (5, 60)):
        got = read_photograph(tmp_path / "x.jpg", smallest=smallest)
        assert (got.height, got.width) == (size, size * 4 // 3)
    small = smooth(480, 640).resize((160, 120), Image.Resampling.BOX)
    assert np.abs(read(tmp_path / "x.jpg", smallest=100) - np.asarray(small)).mean() < 3


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that says it is of this size and has a few bytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 99)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


# The sizes of which Pillow would warn, and which it would refuse in its own words.
@pytest.mark.parametrize("side", [8193, 12000, 20000])
def test_too_many_pixels_are_refused_by_name(tmp_path, side):
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadableImageError, match=rf"x\.png.*{side * side:,} pixels.*Scale it"):
        read_photograph(png_header(tmp_path / "x.png", side, side))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_huge_jpeg_can_be_read_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(photograph, "MOST_PIXELS", 100 * 100)
    smooth(160, 200).save(tmp_path / "x.jpg")
    with pytest.raises(UnreadableImageError, match=r"32,000 pixels"):
        read_photograph(tmp_path / "x.jpg")
    assert read_photograph(tmp_path / "x.jpg", smallest=60).size == (100, 80)
    smooth(160, 200).save(tmp_path / "x.jpg", progressive=True)
    with pytest.raises(UnreadableImageError, match=r"32,000 pixels.*baseline"):
        read_photograph(tmp_path / "x.jpg", smallest=60)


def test_a_jpeg_of_more_pixels_than_pillow_opens(tmp_path):
    Image.new("L", (14000, 13000), 77).save(tmp_path / "x.jpg")
    assert read_photograph(tmp_path / "x.jpg", smallest=512).getpixel((9, 9)) == (77, 77, 77)


FORMATS = ["png", "jpg", "gif", "tiff", "bmp", "webp", "ppm"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_picture_cut_short_is_an_error_and_not_grey_rows(tmp_path, suffix, share):
    path = tmp_path / f"x.{suffix}"
    picture(40, 50).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnreadableImageError, match="damaged") as caught:
        read_photograph(path)
    assert caught.value.path == path
    assert caught.value.reason


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "text.png").write_text("This is no picture at all.")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name, why in (
        ("text", "is no JPEG, PNG"),
        ("empty", "is empty"),
        ("folder", "is a folder"),
        ("missing", "no such file"),
    ):
        with pytest.raises(UnreadableImageError, match=rf"{name}\.png.*{why}.*\. \w"):
            read_photograph(tmp_path / f"{name}.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    picture().save(tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    with pytest.raises(UnreadableImageError, match="may not be read"):
        read_photograph(tmp_path / "x.png")


def test_a_refusal_of_the_system_is_named(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableImageError, match="may not be read"):
        read_photograph(tmp_path / "x.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_bytes_give_a_picture_or_a_named_error(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    picture(12, 10).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(150):
        damaged = np.frombuffer(content, dtype=np.uint8).copy()
        places = rng.integers(0, len(damaged), 3)
        damaged[places] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            outcomes.add(read_photograph(path, smallest=4).mode)
        except UnreadableImageError:
            outcomes.add("error")
    # A PNG has checksums.
    assert outcomes == ({"error"} if suffix == "png" else {"RGB", "error"})


def test_threads_give_what_one_gives(tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(12)]
    for i, path in enumerate(paths):
        Image.fromarray(noise(90, 70, 3, seed=i)).save(path)
    alone = [read(path, smallest=30) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read(path, smallest=30), paths))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
SIZES = [(30, 40), (41, 30), (64, 64), (15, 90), (90, 16), (33, 200), (5, 5), (57, 58), (1, 7)]


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(32, (28, 28)), (64, (64, 49)), (33, (33, 33))])
def test_preparation_is_torchvisions(height, width, interpolation, resize, crop):
    shown = Image.fromarray(noise(height, width, 3, seed=height))
    theirs = transforms.Compose(
        [transforms.Resize(resize, MODES[interpolation]), transforms.CenterCrop(crop)]
    )
    ours = prepare_photograph(shown, resize, crop, interpolation)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours, np.asarray(theirs(shown)))


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(("height", "width"), [(3000, 10), (10, 3001), (1, 500), (30, 41)])
def test_the_part_alone_is_the_part_of_the_whole(monkeypatch, height, width, interpolation):
    shown = Image.fromarray(noise(height, width, 3))
    whole = prepare_photograph(shown, 64, (48, 61), interpolation).astype(int)
    monkeypatch.setattr(photograph, "MOST_PIXELS", 1)
    part = prepare_photograph(shown, 64, (48, 61), interpolation)
    assert np.abs(part - whole).max() <= 2
    assert np.mean(part != whole) < 0.02


def test_other_modes_are_converted_before_they_are_scaled():
    shown = picture(30, 30).quantize(4)
    ours = prepare_photograph(shown, 16, (16, 16), "bilinear")
    assert np.array_equal(ours, prepare_photograph(shown.convert("RGB"), 16, (16, 16), "bilinear"))


@pytest.mark.parametrize(
    ("resize", "crop", "interpolation"),
    [
        (31, (32, 8), "bilinear"),
        (31, (8, 32), "bilinear"),
        (9, (0, 9), "bicubic"),
        (9, (9, 9), "box"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(resize, crop, interpolation):
    with pytest.raises(InvalidDataOptionError, match=r"resize=|interpolation="):
        prepare_photograph(picture(), resize, crop, interpolation)


def test_no_file_is_left_open(tmp_path):
    picture().save(tmp_path / "x.png")
    kept = [read_photograph(tmp_path / "x.png") for _ in range(3)]
    assert kept
    if sys.platform == "linux":
        links = [
            str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
        ]
        assert not [link for link in links if link.endswith("x.png")]
