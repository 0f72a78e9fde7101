"""Which files are meant, and what their results are called."""

from pathlib import Path

import pytest

from biasmatters.pictures import PictureRequestError
from biasmatters.pictures.gather import gather


def touched(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def names(*pictures: str | Path, out: Path) -> list[str]:
    return [item.name for item in gather(pictures, out)]


def test_a_folder_stands_for_all_pictures_in_and_below_it(tmp_path: Path) -> None:
    touched(tmp_path / "in", "b.PNG", "a.jpeg", "sub/c.webp", "notes.txt", "sub/.hidden")
    (tmp_path / "in" / "folder.png").mkdir()
    items = gather([tmp_path / "in"], tmp_path / "out")
    assert [item.name for item in items] == ["a", "b", "sub/c"]
    assert [item.path.name for item in items] == ["a.jpeg", "b.PNG", "c.webp"]


def test_files_come_in_the_order_given_whatever_they_are(tmp_path: Path) -> None:
    first, second = touched(tmp_path, "z.txt", "v1.2.png")
    missing = tmp_path / "missing.png"
    items = gather([first, str(second), missing], tmp_path / "out")
    assert [item.path for item in items] == [first, second, missing]
    assert [item.name for item in items] == ["z", "v1.2", "missing"]


def test_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = touched(tmp_path / "in", "a.png")
    monkeypatch.chdir(tmp_path)
    assert names(path, tmp_path / "in", path, out=tmp_path / "out") == ["a"]
    assert names("in/a.png", "./in/a.png", "in", out=tmp_path / "out") == ["a"]
    assert names("in/a.png", path, "in/../in/a.png", out=tmp_path / "out") == ["a"]


def test_results_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    touched(tmp_path / "in", "A.png", "a.jpg", "a.png", "b.png")
    assert names(tmp_path / "in", out=tmp_path / "out") == ["A-png", "a-jpg", "a-png-2", "b"]


def test_files_of_the_same_name_from_several_folders(tmp_path: Path) -> None:
    files = touched(tmp_path, "one/a.png", "two/a.png", "three/a-png.gif", "four/a", "five/A")
    found = names(*files, out=tmp_path / "out")
    assert found == ["a-png", "a-png-2", "a-png-3", "a-file", "A-file-2"]
    folders = (tmp_path / "one", tmp_path / "two")
    assert names(*folders, out=tmp_path / "out") == ["a-png", "a-png-2"]


def test_a_results_folder_among_the_pictures_is_left_out(tmp_path: Path) -> None:
    touched(tmp_path, "a.png", "explained/a.png", "explained/deep/b.png", "explained2/c.png")
    assert names(tmp_path, out=tmp_path / "explained") == ["a", "explained2/c"]
    assert names(tmp_path, out=tmp_path / "deep" / ".." / "explained") == ["a", "explained2/c"]


def test_a_link_to_the_results_is_left_out_too(tmp_path: Path) -> None:
    touched(tmp_path, "in/a.png", "out/b.png")
    (tmp_path / "in" / "old.png").symlink_to(tmp_path / "out" / "b.png")
    assert names(tmp_path / "in", out=tmp_path / "out") == ["a"]


def test_a_folder_without_pictures_is_named_with_what_they_end_in(tmp_path: Path) -> None:
    touched(tmp_path / "in", "notes.txt")
    with pytest.raises(PictureRequestError, match=r"/in holds no pictures; they end in \.bmp.*tif"):
        gather([tmp_path / "in"], tmp_path / "out")


def test_nothing_named(tmp_path: Path) -> None:
    with pytest.raises(PictureRequestError, match=r"Name pictures .* or use --example"):
        gather([], tmp_path)


def test_results_need_a_folder_of_their_own(tmp_path: Path) -> None:
    touched(tmp_path, "a.png")
    with pytest.raises(PictureRequestError, match="a folder of their own"):
        gather([tmp_path], tmp_path)


def test_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    first, second = ("ü" * 120 + end for end in "ab")
    found = names(f"{first}.png", f"{second}.png", out=tmp_path)
    assert len({*found}) == 2
    assert all(len(name.encode()) <= 180 for name in found)
