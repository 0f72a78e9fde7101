from __future__ import annotations

import pytest
import torch

from biasmatters.data import InvalidDataOptionError, Shapes


@pytest.fixture(scope="module")
def data():
    return Shapes(n_train=120, n_test=100, validation=20).load()


def test_sizes_and_classes(data):
    assert [len(x) for x in (data.train, data.validation, data.test)] == [100, 20, 100]
    assert (data.channels, data.size) == (3, (32, 32))
    assert set(data.train.labels.tolist()) == set(range(len(data.classes)))


def test_masks_are_the_shapes(data):
    """Inside and outside differ in colour, and no shape is cut off or tiny."""
    masks = data.test.masks
    assert masks.shape == (100, 32, 32)
    assert masks.dtype == torch.bool
    area = masks.sum((1, 2))
    assert area.min() >= 20
    assert area.max() < 32 * 32 / 2
    assert not masks[:, [0, -1]].any(2).any() or masks[:, [0, -1]].sum() < 10
    pixels = data.test.pixels.float() / 255
    inside = (pixels * masks[:, None]).sum((2, 3)) / area[:, None]
    outside = (pixels * ~masks[:, None]).sum((2, 3)) / (32 * 32 - area)[:, None]
    assert (inside - outside).abs().amax(1).min() > 0.1


def test_a_circle_fills_more_of_its_box_than_a_star(data):
    fill: dict[str, list[float]] = {name: [] for name in data.classes}
    for mask, label in zip(data.test.masks, data.test.labels, strict=True):
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        fill[data.classes[label]].append((mask.sum() / (rows * columns)).item())
    mean = {name: sum(values) / len(values) for name, values in fill.items()}
    assert mean["circle"] > 0.7 > mean["triangle"] > mean["star"] > 0.2


def test_same_seed_same_pictures_other_seed_others(data):
    again = Shapes(n_train=120, n_test=100, validation=20).load()
    assert again.fingerprint == data.fingerprint
    assert torch.equal(again.train.pixels, data.train.pixels)
    other = Shapes(n_train=120, n_test=100, validation=20, seed=1).load()
    assert other.fingerprint != data.fingerprint
    assert not torch.equal(other.test.pixels, data.test.pixels)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(data):
    small = Shapes(n_train=10, n_test=7, validation=0).load()
    assert torch.equal(small.test.pixels, data.test.pixels[:7])


def test_size_and_grey():
    data = Shapes(n_train=3, n_test=2, validation=0, image_size=(24, 40), channels=1).load()
    assert data.test[0][0].shape == (1, 24, 40)


@pytest.mark.parametrize(
    "options", [{"image_size": 8}, {"channels": 4}, {"n_test": 0}, {"seed": -1}, {"noise": -0.1}]
)
def test_bad_options_of_shapes(options):
    with pytest.raises(InvalidDataOptionError):
        Shapes(**options)
