from __future__ import annotations

import http.server
import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from biasmatters.data import ChecksumError, DataNotFoundError
from biasmatters.data.idx import IdxFormatError, parse_idx


def test_parse_idx_reads_shape_and_values(make):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert torch.equal(parse_idx(make.idx_bytes(array)), torch.from_numpy(array))


@pytest.mark.parametrize("damage", [slice(0, 3), slice(0, 9), slice(0, -1), slice(1, None)])
def test_parse_idx_refuses_damaged_bytes(make, damage):
    data = make.idx_bytes(np.zeros((2, 3, 4), dtype=np.uint8))
    with pytest.raises(IdxFormatError):
        parse_idx(data[damage])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("below", ["", "tiny", "MNIST/raw", "tiny/raw"])
def test_root_may_be_the_folder_or_a_parent(make, tmp_path, compressed, below):
    make.idx(tmp_path / "data" / below, compressed=compressed)
    data = make.TinyIdx(root=str(tmp_path / "data")).load()
    assert data.source == str(tmp_path / "data" / below).rstrip("/")
    assert (data.channels, data.size) == (1, (5, 4))
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 12)


def test_environment_variable_names_the_root(make, tmp_path, monkeypatch):
    make.idx(tmp_path / "data" / "tiny")
    monkeypatch.setenv("BIASMATTERS_DATA", str(tmp_path / "data"))
    assert make.TinyIdx().load().source == str(tmp_path / "data" / "tiny")


def test_pixels_and_labels_are_those_of_the_files(make, tmp_path):
    make.idx(tmp_path)
    data = make.TinyIdx(root=str(tmp_path), validation=0).load()
    raw = np.frombuffer(make.TINY["train-images-idx3-ubyte"], dtype=np.uint8, offset=16)
    x, label, image_id = data.train[7]
    assert image_id == 7
    assert label == make.TINY["train-labels-idx1-ubyte"][8 + 7]
    np.testing.assert_allclose(x.numpy()[0], raw.reshape(40, 5, 4)[7] / 255, rtol=1e-6)


def test_a_flipped_byte_is_named_and_never_used(make, tmp_path):
    folder = make.idx(tmp_path)
    path = folder / "t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumError) as caught:
        make.TinyIdx(root=str(folder)).load()
    assert caught.value.path == path
    assert caught.value.expected == make.TinyIdx.digests[path.name]
    assert caught.value.expected in str(caught.value)
    assert caught.value.found in str(caught.value)


def test_a_truncated_gzip_is_a_checksum_error(make, tmp_path):
    folder = make.idx(tmp_path, compressed=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ChecksumError, match="no readable gzip"):
        make.TinyIdx(root=str(folder)).load()


def test_files_of_a_sibling_are_not_taken_for_damaged_ones(make, tmp_path):
    make.idx(tmp_path / "data", make.OTHER)
    with pytest.raises(DataNotFoundError):
        make.TinyIdx(root=str(tmp_path / "data")).load()


def test_not_found_names_every_place_and_the_way_out(make, tmp_path, monkeypatch):
    monkeypatch.setenv("BIASMATTERS_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(make.TinyIdx, "mirrors", ("http://127.0.0.1:1/",))
    with pytest.raises(DataNotFoundError) as caught:
        make.TinyIdx(root=str(tmp_path / "given")).load()
    text = str(caught.value)
    for part in ("'tiny'", "given", "elsewhere", "cache", "http://127.0.0.1:1/", "root=FOLDER"):
        assert part in text
    assert len(caught.value.tried) == 6


@pytest.fixture
def mirror(make, tmp_path) -> Iterator[str]:
    folder = make.idx(tmp_path / "served", compressed=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(folder))
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_downloads_from_the_first_mirror_that_answers_and_keeps_it(
    make, mirror, own_cache, monkeypatch
):
    monkeypatch.setattr(make.TinyIdx, "mirrors", ("http://127.0.0.1:1/", mirror))
    assert make.TinyIdx().load().source == mirror
    assert sorted(p.name for p in (own_cache / "tiny").iterdir()) == sorted(
        f"{name}.gz" for name in make.TINY
    )
    monkeypatch.setattr(make.TinyIdx, "mirrors", ())
    assert make.TinyIdx().load().source == str(own_cache / "tiny")


def test_a_damaged_file_in_the_cache_is_fetched_again(make, mirror, own_cache, monkeypatch):
    folder = make.idx(own_cache / "tiny", compressed=True)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"rubbish")
    monkeypatch.setattr(make.TinyIdx, "mirrors", (mirror,))
    assert make.TinyIdx().load().source == mirror
    assert make.TinyIdx().load().source == str(folder)


def test_a_damaged_file_of_a_mirror_is_not_kept(make, mirror, tmp_path, own_cache, monkeypatch):
    (tmp_path / "served" / "train-images-idx3-ubyte.gz").write_bytes(b"rubbish")
    monkeypatch.setattr(make.TinyIdx, "mirrors", (mirror,))
    with pytest.raises(DataNotFoundError, match="expected sha256"):
        make.TinyIdx().load()
    assert not list((own_cache / "tiny").glob("*"))


@pytest.fixture
def package(make, tmp_path, monkeypatch) -> str:
    """A package ``tiny-data`` that a stand-in for apt-get 'downloads'."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")
    tree = tmp_path / "tree"
    make.idx(tree / "usr/share/datasets/tiny", compressed=True)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: tiny-data\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\n"
        "Description: x\n"
    )
    built = tmp_path / "tiny-data_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(built)], check=True, capture_output=True)
    _tool(tmp_path / "bin", f'[ "$#" -gt 8 ] || exit 100; cp {built} .', monkeypatch)
    monkeypatch.setattr(make.TinyIdx, "package", "tiny-data")
    return "tiny-data"


def _tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_unpacks_the_package_with_lists_of_our_own(make, package, own_cache):
    """The stand-in fails without the options for private lists, as apt-get without lists does."""
    assert package in make.TinyIdx().load().source
    assert sorted(p.name for p in (own_cache / "tiny").iterdir()) == sorted(
        f"{name}.gz" for name in make.TINY
    )


def test_says_why_the_package_cannot_be_had(make, tmp_path, monkeypatch):
    _tool(tmp_path / "bin", "echo 'E: Unable to locate package' >&2; exit 100", monkeypatch)
    monkeypatch.setattr(make.TinyIdx, "package", "tiny-data")
    with pytest.raises(DataNotFoundError, match="Unable to locate package"):
        make.TinyIdx().load()


def test_a_cache_that_cannot_be_written_is_a_reason_not_a_crash(make, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(make.TinyIdx, "package", "tiny-data")
    monkeypatch.setattr(make.TinyIdx, "mirrors", ("http://127.0.0.1:1/",))
    with pytest.raises(DataNotFoundError, match="Not a directory"):
        make.TinyIdx(cache=str(tmp_path / "file")).load()
