from __future__ import annotations

import numpy as np
import pytest
import torch

from biasmatters.data import CIFAR10, CIFAR100, STL10, ChecksumError, DataNotFoundError
from biasmatters.data.archive import ArchiveError, read_members


def cifar_records(count: int, label_bytes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    records[:, :label_bytes] %= 10
    return records


@pytest.mark.parametrize(("kind", "label_bytes"), [(CIFAR10, 1), (CIFAR100, 2)])
def test_cifar_records_are_decoded(make, tmp_path, monkeypatch, kind, label_bytes):
    records = {m: cifar_records(3, label_bytes, i) for i, m in enumerate(kind.members)}
    path = tmp_path / "data" / kind.archive
    digest = make.archive(path, {name: r.tobytes() for name, r in records.items()})
    monkeypatch.setattr(kind, "digest", digest)
    data = kind(root=str(tmp_path / "data"), validation=1).load()
    train = np.concatenate([records[name] for name in kind.members[:-1]])
    assert (data.channels, data.size, data.fingerprint) == (3, (32, 32), digest)
    assert len(data.train) + len(data.validation) == len(train)
    x, label, image_id = data.train[0]
    assert label == train[image_id, label_bytes - 1]
    pixels = train[image_id, label_bytes:].reshape(3, 32, 32)
    np.testing.assert_allclose(x.numpy(), pixels / 255, rtol=1e-6)


def test_stl10_pixels_lie_column_by_column(make, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 3, 96, 96), dtype=np.uint8)
    stored = pictures.transpose(0, 1, 3, 2).tobytes()
    members = dict(zip(STL10.members, (stored, b"\x01\x0a", stored, b"\x05\x02"), strict=True))
    digest = make.archive(tmp_path / STL10.archive, members)
    monkeypatch.setattr(STL10, "digest", digest)
    data = STL10(root=str(tmp_path), validation=0, normalization="standard").load()
    assert torch.equal(data.test.pixels, torch.from_numpy(pictures))
    assert data.train.labels.tolist() == [0, 9]
    assert data.test.labels.tolist() == [4, 1]
    assert data.normalization.mean[0] == pytest.approx(pictures[:, 0].mean() / 255)


def test_a_damaged_archive_is_named_and_never_used(tmp_path):
    (tmp_path / CIFAR10.archive).write_bytes(b"rubbish")
    with pytest.raises(ChecksumError, match=CIFAR10.digest):
        CIFAR10(root=str(tmp_path)).load()


def test_a_damaged_archive_in_the_cache_is_removed(own_cache, monkeypatch):
    monkeypatch.setattr(CIFAR10, "mirrors", ("http://127.0.0.1:1/",))
    path = own_cache / "cifar10" / CIFAR10.archive
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rubbish")
    with pytest.raises(DataNotFoundError, match="expected sha256"):
        CIFAR10().load()
    assert not path.exists()


def test_an_archive_that_lacks_a_member_or_breaks_off(make, tmp_path):
    path = tmp_path / "a.tar.gz"
    make.archive(path, {"x": bytes(np.random.default_rng(0).bytes(50_000))})
    assert list(read_members(path, ["x"])) == ["x"]
    with pytest.raises(ArchiveError, match="lacks y"):
        read_members(path, ["x", "y"])
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ArchiveError, match="cannot be read"):
        read_members(path, ["x"])


def test_names_of_classes():
    for kind, count in ((CIFAR10, 10), (CIFAR100, 100), (STL10, 10)):
        assert len(set(kind.classes)) == count
        assert kind.classes == tuple(sorted(kind.classes))
