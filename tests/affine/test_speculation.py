"""What is taken to hold, and what is seen of it afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from biasmatters.affine import device, masks
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.form import Form
from biasmatters.affine.maps import dense
from biasmatters.affine.maps.ahead import look_for_holes, with_coefficients
from biasmatters.affine.maps.branches import BranchMap, beside
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.counting import Holes, find_holes
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.maps.totals import TotalMap
from biasmatters.affine.mixing import Connections, Linear
from biasmatters.affine.speculation import assuming, current
from biasmatters.affine.step import finite_constants
from biasmatters.affine.target import resolve_target
from biasmatters.rules import make_rule
from tests.affine.test_masks import FORMATS, LAYOUTS, numbers

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "HOST", "nowhere")


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bad", [None, torch.nan, torch.inf, -torch.inf])
def test_finite(dtype: torch.dtype, bad: float | None) -> None:
    x = torch.full((4, 30000), 3.0, dtype=dtype)
    if bad is not None:
        x[2, 100] = bad
    with assuming() as assumed:
        assumed.finite(torch.ones(3))
        assumed.finite(x)
        assert current() is assumed
    assert assumed.hold() is (bad is None)
    assert current() is None


@pytest.mark.parametrize("dtype", FORMATS)
def test_zeros(dtype: torch.dtype) -> None:
    for value, zero in ((0.0, True), (-0.0, True), (5e-8, False), (torch.nan, False)):
        x = torch.zeros(3, 4, dtype=dtype)
        x[1, 2] = value
        with assuming() as assumed:
            assumed.zero(x)
            assert masks.none_left(torch.zeros(2))
        assert assumed.hold() is zero
    assert not masks.none_left(torch.ones(2))
    assert masks.none_left(torch.zeros(2))


def test_several_numbers_of_one_question() -> None:
    for limit, holds in ((4.0, True), (3.0, False)):
        with assuming() as assumed:
            assumed.zero(torch.zeros(0))
            numbers = torch.tensor(1), torch.tensor(2.0)
            assumed.note(lambda a, b, limit=limit: a + b < limit, *numbers)
            assumed.finite(torch.zeros(0))
        assert assumed.hold() is holds
    with assuming() as assumed:
        pass
    assert assumed.hold()


def test_one_within_another_is_its_own() -> None:
    with assuming() as outer:
        with assuming() as inner:
            masks.none_left(torch.ones(2))
        masks.none_left(torch.zeros(2))
    assert outer.hold()
    assert not inner.hold()


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_looked_at_alike(
    layout: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Callable[[Tensor], object]] = [
        masks.any_left, masks.all_present, masks.present_throughout, masks.largest, masks.count,
    ]  # fmt: skip
    for x in (numbers(layout, dtype), numbers(layout, dtype).abs() + 1, numbers(layout, dtype) * 0):
        wanted = [ask(x) for ask in asked]
        with monkeypatch.context() as patch:
            patch.setattr(device, "HOST", "nowhere")
            assert [ask(x) for ask in asked] == wanted


def test_once_is_a_view_of_one_of_each() -> None:
    x = torch.arange(6.0).reshape(2, 3, 1)[:, 1:].expand(2, 2, 5)
    assert torch.equal(masks.once(x), x[:, :, :1])
    assert masks.once(x).data_ptr() == x.data_ptr()
    whole = torch.ones(2, 3)
    assert masks.once(whole) is whole
    assert masks.once(torch.zeros(()).expand(0, 3)).shape == (0, 1)
    assert masks.once(torch.zeros(1, 1).expand(4, 1)).shape == (1, 1)


def live(tau: Tensor, total: Tensor, scale: Tensor | None) -> bool:
    with assuming() as assumed:
        masks.assume_live(assumed, tau, total, 0.5, scale)
    return assumed.hold()


def test_units_without_contributions_have_no_bias() -> None:
    tau = torch.tensor([[1.0, 0.0, 2.0]])
    slopes = torch.tensor([[1.0, 0.0, -1.0]])
    assert live(tau, torch.tensor([[1.0, 0.0, 1.0]]), None)
    assert live(tau, torch.tensor([[1.0, 1.0, 1.0]]), slopes)
    assert live(tau, torch.tensor([[1.0, 0.0, 1.0]]), slopes)
    assert not live(tau, torch.tensor([[1.0, 1.0, 0.5]]), None)
    assert not live(tau, torch.tensor([[1.0, 1.0, 0.5]]), slopes)
    assert not live(tau, torch.ones(1, 1), torch.tensor([[1.0, 1.0, 0.0]]))
    assert not live(tau * torch.nan, torch.ones(1, 1), slopes)
    shown = torch.tensor([1.0, 0.0, 1.0]).expand(2, 3)
    assert live(tau.expand(2, 3), torch.ones(1, 1), shown)
    assert not live(tau.expand(2, 3) + 1, torch.ones(1, 1), shown)
    assert live(tau.expand(2, 3), torch.ones(1, 1), shown + 1)


@pytest.mark.usefixtures("_apart")
def test_intercepts_are_looked_at_together() -> None:
    def form(constant: Tensor | None) -> Form:
        return Form("elementwise", lambda tau, _: (tau,), lambda: constant)

    fine = [torch.ones(3), torch.ones(2, dtype=torch.float64)]
    found = finite_constants([form(fine[0]), form(None), form(fine[1])])
    assert found[0] is fine[0]
    assert found[1] is None
    assert found[2] is fine[1]
    for bad in (torch.inf, -torch.inf):
        masked = finite_constants([form(fine[0]), form(torch.tensor([1.0, bad]))])
        assert masked[1] is not None
        assert masked[1].tolist() == [1.0, 0.0]
    turned = torch.tensor([1.0 + 2.0j])
    assert str(finite_constants([form(turned)])) == str([turned])


def test_targets_are_brought_to_the_output() -> None:
    far = torch.empty(3, 5, device="meta")
    for target in (2, -1, [1, 1, 1], [0, 4, -5], torch.tensor([1, 2, 3])):
        found = resolve_target(far, target, 3)
        assert found is not None
        assert (found.device.type, found.shape, found.dtype) == ("meta", (3,), torch.long)
    near = torch.empty(3, 5)
    for target, wanted in ((-1, [4, 4, 4]), ([0, 4, -5], [0, 4, 0]), (2, [2, 2, 2])):
        assert resolve_target(near, target, 3).tolist() == wanted  # type: ignore[union-attr]


@pytest.mark.parametrize("factors", [(1.0, 1.0), (1.0, -1.0), (2.0, 1.0), (0.0, -3.0), (1.0, 0.5)])
def test_branches_with_numbers_are_those_with_tensors(factors: tuple[float, float]) -> None:
    torch.manual_seed(0)
    values, tau = [torch.randn(2, 3), torch.randn(3)], torch.randn(2, 3)
    made, x = beside(values, factors, torch.Size((2, 3)))
    wanted = BranchMap(torch.tensor(factors))
    for exponent in (0, 1):
        mine, other = made.power(exponent, x), wanted.power(exponent, x)
        torch.testing.assert_close(mine.forward(x), other.forward(x))
        torch.testing.assert_close(mine.transpose(tau), other.transpose(tau))
    mine, other = made.connections(x), wanted.connections(x)
    torch.testing.assert_close(mine.coefficients, other.coefficients)
    torch.testing.assert_close(mine.inputs, other.inputs)
    torch.testing.assert_close(x, torch.stack([v.expand(2, 3) for v in values], -1))


@pytest.mark.usefixtures("_apart")
def test_holes_are_looked_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    full, holed = torch.rand(8, 8, 3, 3) + 1, torch.rand(8, 8, 3, 3) + 1
    holed[2, 3, 0, 0] = 0
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    two = [DenseMap(full[0, 0]), DenseMap(holed[2].flatten(1))]
    maps = with_coefficients([ConvMap(full, *how), ConvMap(holed, *how), *two, TotalMap((1,), 1.0)])
    assert len(maps) == 4
    looked: list[int] = []

    def ahead() -> None:
        look_for_holes(maps)
        looked.append(sum("_holes" in vars(made) for made in maps))

    with assuming(ahead) as assumed:
        found = [made.holes for made in maps]
    assert assumed.hold()
    assert looked == [2, 2, 3]  # those with zeros look themselves
    monkeypatch.setattr(device, "HOST", "cpu")
    for holes, weight in zip(found[:2], (full, holed), strict=True):
        plain = find_holes(weight, 1)
        assert isinstance(holes, Holes)
        assert isinstance(plain, Holes)
        assert torch.equal(holes.places, plain.places)
    assert [torch.stack(h).shape for h in found[2:3]] == [(2, 0)]  # type: ignore[arg-type]
    assert found[3] is None  # one of 72 is more than a thousandth
    look_for_holes([])


@pytest.mark.parametrize("zeros", [0, 7, 11])
def test_zeros_of_a_matrix(zeros: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weight = torch.rand(100, 100) + 1
    weight.flatten()[torch.randperm(10000)[:zeros]] = 0
    x, tau = torch.rand(2, 100), torch.rand(2, 100)
    near = DenseMap(weight)
    wanted = near.power(0, x)
    monkeypatch.setattr(device, "HOST", "nowhere")
    far = DenseMap(weight)
    found = far.power(0, x)
    assert (far.holes is None) == (near.holes is None) == (zeros > 10)
    assert far.holes is None or len(far.holes[0]) == zeros
    torch.testing.assert_close(found.forward(x), wanted.forward(x))
    torch.testing.assert_close(found.transpose(tau), wanted.transpose(tau))
    monkeypatch.setattr(dense, "LARGE", 1000)
    monkeypatch.setattr(dense, "APART", 300)
    sizes = DenseMap(-weight).power(1, x)
    torch.testing.assert_close(sizes.forward(x), x @ weight.T)
    torch.testing.assert_close(sizes.transpose(tau), tau @ weight)


def test_where_bias_is_stranded_nothing_is_left_out() -> None:
    scale = torch.tensor([1.0, 0.0, 2.0]).expand(2, 3)
    with assuming(none_stranded=False) as assumed:
        assert not masks.none_left(torch.zeros(2))
        assert not masks.none_left(torch.ones(2))
        slopes = masks.passing(scale)
        assert slopes is not None
        assert slopes.tolist() == [[1.0, 0.0, 1.0]]
        ones = masks.passing(torch.ones(3).expand(2, 3))
        assert ones is not None
        assert ones.tolist() == [[1.0, 1.0, 1.0]]
    assert assumed.hold()


@pytest.mark.parametrize("exponent", [0, 1])
def test_the_fallback_takes_every_unit_to_have_inputs(exponent: int) -> None:
    torch.manual_seed(0)
    weight, x, tau = torch.rand(3, 4) + 1, torch.rand(2, 4), torch.rand(2, 3)
    for zero in (False, True):
        if zero:
            weight[1] = 0
        wanted, lost = hand_to_support(DenseMap(weight), x, tau, exponent)
        with assuming() as assumed:
            found, none = hand_to_support(DenseMap(weight), x, tau, exponent)
        assert none is None
        assert assumed.hold() is (lost is None) is (not zero)
        if not zero:
            torch.testing.assert_close(found, wanted)


class Faint:
    """A map of which sums come out as round-off in place of 0."""

    def power(self, exponent: int, like: Tensor) -> Linear:
        return Linear(lambda x: x * 0.3, lambda tau: tau)

    def connections(self, x: Tensor) -> Connections:
        raise NotImplementedError


def test_counts_that_are_round_off_are_none() -> None:
    with assuming() as assumed:
        hand_to_support(Faint(), torch.ones(2, 3), torch.ones(2, 3), 0)
    assert not assumed.hold()
    with assuming() as assumed:
        hand_to_support(Faint(), torch.ones(2, 3), torch.ones(2, 3), 1)
    assert assumed.hold()


@pytest.mark.parametrize("size", [1e-320, 1e-305, 1e-200, 1.0, 1e200])
def test_tiny_contributions_are_not_taken_to_count(size: float) -> None:
    weight = torch.tensor([[1.0, 3.0], [2.0, 2.0]], dtype=torch.float64)
    x = torch.full((1, 2), size, dtype=torch.float64)
    tau = torch.tensor([[1e15, -4.0]], dtype=torch.float64)
    rule = make_rule("proportional")
    wanted, _ = rule.split(DenseMap(weight), x, tau, None)
    with assuming() as assumed:
        found, _ = rule.split(DenseMap(weight), x, tau, None)
    assert assumed.hold() == (size > 1e-250)
    if assumed.hold():
        torch.testing.assert_close(found, wanted)
