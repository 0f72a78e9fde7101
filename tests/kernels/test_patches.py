"""Patches added up, against torch's own operation."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.kernels.machine_code import LEAST
from biasmatters.kernels.patches import fold
from tests.kernels.geometry import Pair, Windows
from tests.kernels.values import FORMATS, assert_close, numbers, one_by_one


@dataclass(frozen=True)
class Geometry(Windows):
    """Where the windows of a picture lie."""

    batch: int = 2
    channels: int = 3

    @property
    def sides(self) -> Pair:
        """Of the picture with its padding."""
        (top, bottom), (left, right) = self.padding
        return self.space[0] + top + bottom, self.space[1] + left + right

    @property
    def windows(self) -> Pair:
        high, wide = (
            (n - d * (k - 1) - 1) // s + 1
            for n, d, k, s in zip(self.sides, self.dilation, self.kernel, self.stride, strict=True)
        )
        return high, wide

    def patches(self, dtype: torch.dtype, holes: float = 0.2) -> Tensor:
        each, places = self.kernel[0] * self.kernel[1], self.windows[0] * self.windows[1]
        shape = self.batch, self.channels * each, places
        return numbers(*shape, dtype=dtype, seed=1, holes=holes)

    def like(self, dtype: torch.dtype) -> Tensor:
        return torch.empty(self.batch, self.channels, *self.space, dtype=dtype)

    def found(self, patches: Tensor) -> Tensor:
        how = self.kernel, self.padding, self.dilation, self.stride
        return fold(patches, self.like(patches.dtype), self.windows, *how)

    def wanted(self, patches: Tensor) -> Tensor:
        """In double precision, with the padding cut off."""
        whole = F.fold(patches.double(), self.sides, self.kernel, self.dilation, 0, self.stride)
        (top, _), (left, _) = self.padding
        return whole[:, :, top : top + self.space[0], left : left + self.space[1]]


def drawn(seed: int) -> Geometry:
    """A geometry that has windows; some have more padding than the kernel reaches."""
    draw = Random(seed)

    def pair(low: int, high: int) -> Pair:
        return draw.randint(low, high), draw.randint(low, high)

    while True:
        kernel, dilation, stride = pair(1, 7), pair(1, 3), pair(1, 4)
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = pair(0, reach[0] + 2), pair(0, reach[1] + 2)
        space = pair(1, draw.choice([3, 7, 15]))
        sizes = draw.randint(1, 2), draw.randint(1, 4)
        made = Geometry(space, kernel, padding, dilation, stride, *sizes)
        if min(made.windows) > 0:
            return made


GEOMETRIES = {
    "one number": Geometry((1, 1), (1, 1), batch=1, channels=1),
    "a point": Geometry((4, 5), (1, 1)),
    "a point with strides": Geometry((7, 10), (1, 1), stride=(2, 3)),
    "a point with strides and padding": Geometry((5, 4), (1, 1), ((1, 2), (3, 1)), stride=(3, 2)),
    "three": Geometry((5, 6), (3, 3), ((1, 1), (1, 1))),
    "three, stride 2": Geometry((7, 8), (3, 3), ((1, 1), (1, 1)), stride=(2, 2)),
    "seven, stride 4": Geometry((17, 15), (7, 7), ((3, 3), (3, 3)), stride=(4, 4)),
    "side by side": Geometry((8, 9), (4, 3), stride=(4, 3)),
    "strides that skip places": Geometry((11, 13), (2, 2), stride=(3, 4)),
    "rows and columns left over": Geometry((10, 12), (3, 3), stride=(4, 4)),
    "a stride down": Geometry((9, 7), (3, 3), ((1, 1), (1, 1)), stride=(4, 1)),
    "a stride across": Geometry((7, 9), (3, 3), ((1, 1), (1, 1)), stride=(1, 4)),
    "a row": Geometry((1, 13), (1, 5), ((0, 0), (2, 2)), stride=(1, 3)),
    "a column": Geometry((13, 1), (5, 1), ((2, 2), (0, 0)), stride=(3, 1)),
    "uneven": Geometry((6, 9), (2, 3), ((1, 0), (0, 2)), (2, 1), (1, 2)),
    "uneven the other way": Geometry((9, 6), (4, 2), ((0, 3), (2, 0)), (1, 2), (2, 3)),
    "dilated": Geometry((9, 11), (3, 2), ((3, 1), (0, 4)), (3, 4), (2, 1)),
    "dilated, strides of the dilation": Geometry((9, 9), (3, 3), ((2, 2), (2, 2)), (2, 3), (2, 3)),
    "smaller than the kernel": Geometry((2, 3), (7, 5), ((3, 2), (1, 3))),
    "narrower than the stride": Geometry((1, 2), (3, 3), ((1, 1), (2, 2)), stride=(4, 4)),
    "padding larger than the kernel": Geometry((3, 4), (2, 2), ((5, 4), (6, 3)), stride=(1, 2)),
    "windows in the padding alone": Geometry((1, 1), (1, 1), ((3, 3), (3, 3)), stride=(2, 2)),
}


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_patches_are_added_up_as_torch_does(geometry: str, dtype: torch.dtype) -> None:
    made = GEOMETRIES[geometry]
    patches = made.patches(dtype)
    before = patches.clone()
    found = made.found(patches)
    assert torch.equal(patches, before)
    assert found.is_contiguous()
    assert_close(found, made.wanted(patches).to(dtype))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("some", range(8))
def test_any_geometry_is_as_good(some: int, dtype: torch.dtype) -> None:
    for seed in range(40 * some, 40 * (some + 1)):
        made = drawn(seed)
        patches = made.patches(dtype)
        assert_close(made.found(patches), made.wanted(patches).to(dtype))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (3, 1), (4, 3)])
def test_a_product_with_kernels_is_the_transpose_of_a_convolution(
    stride: Pair, dtype: torch.dtype
) -> None:
    made = Geometry((9, 11), (3, 5), ((1, 1), (2, 2)), (2, 1), stride)
    weight = numbers(4, made.channels, *made.kernel, dtype=dtype, seed=2)
    tau = numbers(made.batch, 4, *made.windows, dtype=dtype, seed=3)
    x = made.like(torch.float64).fill_(0).requires_grad_()
    out = F.conv2d(x, weight.double(), None, stride, (1, 2), made.dilation)
    wanted = torch.autograd.grad(out, x, tau.double())[0]
    assert_close(made.found(weight.flatten(1).T @ tau.flatten(2)), wanted.to(dtype))


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_each_number_goes_to_its_place_alone(stride: Pair) -> None:
    made = Geometry((4, 5), (2, 3), ((1, 0), (0, 2)), (2, 1), stride, 1, 2)
    zero = torch.zeros_like(made.patches(torch.float32))
    for at in range(zero.numel()):
        patches = zero.clone()
        patches.view(-1)[at] = 2.0
        assert torch.equal(made.found(patches), made.wanted(patches).float())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_not_finite_stay_in_their_window(value: float) -> None:
    made = Geometry((6, 7), (3, 2), ((1, 1), (1, 0)), stride=(1, 2))
    patches = made.patches(torch.float32)
    patches[1, 7, 5] = value
    found, wanted = made.found(patches), made.wanted(patches).float()
    assert int((~wanted.isfinite()).sum()) == 1
    torch.testing.assert_close(found, wanted, equal_nan=True)


def test_where_no_window_reaches_there_is_0_whatever_memory_held() -> None:
    made = GEOMETRIES["strides that skip places"]
    reached = made.wanted(torch.ones_like(made.patches(torch.float64))) != 0
    assert not reached.all()
    for _ in range(5):
        torch.full((2, 3, *made.space), torch.nan)  # what memory may hold
        assert not made.found(made.patches(torch.float32, holes=0.0))[~reached].any()


def test_patches_may_need_a_gradient_and_lie_anywhere() -> None:
    made = GEOMETRIES["uneven"]
    patches = made.patches(torch.float64)
    wanted = made.found(patches)
    found = made.found(patches.mT.contiguous().mT.requires_grad_())
    assert torch.equal(found, wanted)
    assert not found.requires_grad
    one = torch.tensor(0.5, dtype=torch.float64).expand(patches.shape)
    assert_close(made.found(one), made.wanted(one))


@pytest.mark.parametrize("geometry", ["uneven", "three, stride 2", "rows and columns left over"])
def test_rows_may_be_taken_one_by_one_in_any_order(geometry: str) -> None:
    made = GEOMETRIES[geometry]
    patches = made.patches(torch.float32)
    together = made.found(patches)
    with one_by_one() as rows:
        apart = made.found(patches)
    assert rows == [made.batch * made.channels * made.space[0]]
    assert torch.equal(together, apart)


def test_many_rows_on_all_threads() -> None:
    made = Geometry((70, 61), (3, 3), ((1, 1), (0, 2)), stride=(2, 1), batch=3, channels=9)
    patches = made.patches(torch.float32)
    assert patches.numel() > 3 * LEAST
    assert_close(made.found(patches), made.wanted(patches).float())
