from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from biasmatters.data import InvalidDataOptionError, Normalization, TensorImages, collate
from biasmatters.data.normalization import pixel_statistics
from biasmatters.data.split import holdout, shuffled_ids, subset


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 500), data=st.data())
def test_holdout_splits_without_loss_or_overlap(count, data):
    validation = data.draw(st.integers(0, count - 1))
    train, held = holdout(count, validation, None)
    assert len(held) == validation
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(count))


def test_limits_nest_and_leave_the_held_out_images_alone():
    small, held_small = holdout(1000, 100, 50)
    large, held_large = holdout(1000, 100, 400)
    assert set(small.tolist()) < set(large.tolist())
    assert torch.equal(held_small, held_large)
    assert set(subset(1000, 10).tolist()) < set(subset(1000, 20).tolist())


def split_mix(i: int) -> int:
    mask = 2**64 - 1
    z = (i + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def test_order_is_that_of_the_published_hash():
    assert split_mix(0) == 0xE220A8397B1DCDAF
    assert shuffled_ids(300).tolist() == sorted(range(300), key=split_mix)


def test_order_looks_random():
    ids = shuffled_ids(10_000).double()
    correlation = torch.corrcoef(torch.stack([ids, torch.arange(10_000).double()]))[0, 1]
    assert abs(correlation) < 0.04


def test_holding_out_everything_is_refused():
    with pytest.raises(InvalidDataOptionError, match="hold out fewer than 10"):
        holdout(10, 10, None)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"normalization": "imagenet"}, "unit, standard, symmetric"),
        ({"validation": -1}, "validation=-1"),
        ({"train_limit": 0}, "train_limit=0"),
        ({"test_limit": -3}, "test_limit=-3"),
    ],
)
def test_bad_options_are_refused_before_any_file_is_read(make, options, word):
    with pytest.raises(InvalidDataOptionError, match=word):
        make.TinyIdx(**options)


def images(count: int = 20, masks: bool = False) -> TensorImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 4, 5), generator=generator, dtype=torch.uint8)
    normalization = Normalization.make("standard", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    mask = pixels[:, 0] > 128 if masks else None
    return TensorImages(pixels, torch.arange(count) % 3, normalization, masks=mask)


def test_batches_equal_stacked_samples():
    data = images().select(torch.tensor([3, 5, 8, 13]))
    batch = data.__getitems__([2, 0, 3])
    stacked = collate([data[2], data[0], data[3]])
    assert batch.ids.tolist() == [8, 3, 13]
    for ours, theirs in zip(batch, stacked, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("workers", [0, 1])
def test_data_loader_takes_whole_batches(workers):
    loader = DataLoader(images(), batch_size=8, collate_fn=collate, num_workers=workers)
    batches = list(loader)
    assert [len(b.ids) for b in batches] == [8, 8, 4]
    assert torch.cat([b.ids for b in batches]).tolist() == list(range(20))
    assert batches[0].images.dtype == torch.float32


def test_selection_keeps_ids_labels_and_masks_together():
    data = images(masks=True)
    part = data.select(torch.tensor([4, 9]))
    assert part.labels.tolist() == [1, 0]
    assert data.masks is not None
    assert part.masks is not None
    assert torch.equal(part.masks, data.masks[[4, 9]])
    assert torch.equal(part.pixels, data.pixels[[4, 9]])


@pytest.mark.parametrize("name", ["unit", "standard", "symmetric"])
def test_normalization_can_be_undone(name):
    normalization = Normalization.make(name, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    pixels = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(normalization.invert(normalization.apply(pixels)), pixels)


def test_normalization_ranges():
    ends = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert Normalization.make("unit", (0.3,), (0.2,)).apply(ends).flatten().tolist() == [0, 1]
    assert Normalization.make("symmetric", (0.3,), (0.2,)).apply(ends).flatten().tolist() == [-1, 1]
    standard = Normalization.make("standard", (0.5,), (0.25,)).apply(ends)
    assert standard.flatten().tolist() == [-2, 2]


def test_normalization_refuses_a_standard_deviation_of_zero():
    with pytest.raises(InvalidDataOptionError, match="positive"):
        Normalization.make("standard", (0.5,), (0.0,))


def test_pixel_statistics_agree_with_torch():
    pixels = images(50).pixels
    mean, std = pixel_statistics(pixels)
    scaled = pixels.double() / 255
    torch.testing.assert_close(torch.tensor(mean).double(), scaled.mean((0, 2, 3)))
    torch.testing.assert_close(
        torch.tensor(std).double(), scaled.std((0, 2, 3), correction=0), rtol=1e-6, atol=0
    )
