"""RISE, interior gradients, edges and noise beside implementations written another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from torch import Tensor, nn

from biasmatters.baselines import InteriorGradients, MethodError, RandomMap, Rise, Sobel
from biasmatters.baselines.rise import Masks


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 9, 3)
    ).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 2, 10, 11, generator=torch.Generator().manual_seed(1))


def test_rise_is_its_definition(net: nn.Sequential, x: Tensor) -> None:
    found = Rise(net, masks=13, grid=4, shown=0.4, chunk=6, seed=5).explain(x, [0, 1, 2]).map
    masks = Masks.draw(13, 4, 0.4, x.shape[2:], 5).enlarged(slice(None))
    wanted = np.zeros((3, 10, 11))
    with torch.no_grad():
        for mask in masks:
            scores = net(x * mask).softmax(1)
            for n in range(3):
                wanted[n] += float(scores[n, n]) * mask.double().numpy()
    np.testing.assert_allclose(found.sum(1), wanted / (13 * 0.4), rtol=1e-4, atol=1e-6)


def test_masks_show_as_much_as_they_should() -> None:
    masks = Masks.draw(400, 7, 0.3, (28, 28), 0).enlarged(slice(None))
    assert masks.shape == (400, 28, 28)
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.3, abs=0.02)
    assert len({tuple(m.flatten().tolist()) for m in masks}) == 400


def test_all_images_see_the_same_masks(net: nn.Sequential, x: Tensor) -> None:
    together = Rise(net, masks=50, chunk=12).explain(x, 1).map
    alone = Rise(net, masks=50, chunk=7).explain(x[1:2], 1).map
    torch.testing.assert_close(together[1:2], alone)


def test_rise_finds_the_only_pixel_that_counts() -> None:
    class Corner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([10 * x[:, 0, 2, 3], torch.zeros(len(x))], 1)

    found = Rise(Corner().eval(), masks=600, grid=8).explain(torch.ones(1, 1, 16, 16), 0).map
    peak = int(found[0, 0].argmax())
    assert abs(peak // 16 - 2) <= 1
    assert abs(peak % 16 - 3) <= 1


def test_interior_gradients_are_a_mean_of_gradients(net: nn.Sequential, x: Tensor) -> None:
    found = InteriorGradients(net, steps=4).explain(x, 1).map
    jacobian = [
        torch.func.vmap(torch.func.grad(lambda z: net(z[None])[0, 1]))(x * share)
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    torch.testing.assert_close(found, torch.stack(jacobian).mean(0))


def test_edges_are_scipys(net: nn.Sequential, x: Tensor) -> None:
    found = Sobel(net).explain(x).map
    for picture, edges in zip(x.double().flatten(0, 1), found.flatten(0, 1), strict=True):
        across, down = (sobel(picture.numpy(), axis=axis, mode="nearest") / 8 for axis in (1, 0))
        np.testing.assert_allclose(edges, np.hypot(across, down), rtol=1e-5, atol=1e-6)


def test_a_random_map_belongs_to_its_image(net: nn.Sequential, x: Tensor) -> None:
    found = RandomMap(net, seed=1).explain(x).map
    torch.testing.assert_close(found[1:2], RandomMap(net, seed=1).explain(x[1:2]).map)
    assert not torch.equal(found, RandomMap(net, seed=2).explain(x).map)
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("method", [Rise, Sobel])
def test_pictures_are_asked_for(method: type) -> None:
    with pytest.raises(MethodError, match="pictures"):
        method(nn.Linear(4, 2).eval()).explain(torch.rand(2, 4))


def test_rise_settings() -> None:
    with pytest.raises(MethodError, match="grid=1"):
        Rise(nn.Identity(), grid=1)
    with pytest.raises(MethodError, match="shown=0"):
        Rise(nn.Identity(), shown=0)
