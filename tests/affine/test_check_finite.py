"""What is finite passes, however large its sum; nan and infinities never do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.guard import check_finite

# Looked at one by one, added up by one core, and by torch.
WIDTHS = [2, 90, 70000]
FORMATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INF, NAN = torch.inf, torch.nan


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("width", WIDTHS)
def test_sums_that_are_too_large(width: int, sign: int, dtype: torch.dtype) -> None:
    values = torch.full((3, width), sign * torch.finfo(dtype).max, dtype=dtype)
    assert values.sum().isinf()
    check_finite(values, "It")


def test_a_model_takes_the_largest_numbers() -> None:
    x = torch.full((2, 3), torch.finfo(torch.float32).max)
    form = bm.local_affine(lambda t: (t * 1e-38)[:, :1] + 1, x, 0)
    assert form.certificate.passed


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("row", "bad"),
    [([1, NAN], True), ([1, INF], True), ([-INF, 2], True), ([INF, -INF], True),
     ([NAN, INF], True), ([0.0, -0.0], False), ([65504, -65504], False)],
)  # fmt: skip
@pytest.mark.parametrize("width", WIDTHS)
def test_rows(width: int, row: list[float], bad: bool, dtype: torch.dtype) -> None:
    values = torch.zeros(4, width, dtype=dtype)
    values[2, -2:] = torch.tensor(row)
    if not bad:
        return check_finite(values, "It")
    with pytest.raises(bm.InputError, match=r"It is not finite at sample index 2 \(1 in all\)"):
        check_finite(values, "It")
    return None


def test_infinities_of_two_samples_that_cancel() -> None:
    values = torch.tensor([[1.0, INF], [0, 0], [-INF, 1]])
    with pytest.raises(bm.InputError, match=r"index 0 \(2 in all\)"):
        check_finite(values, "It")
    with pytest.raises(bm.InputError, match=r"Input 0 is not finite at sample index 0"):
        bm.local_affine(nn.Linear(2, 1), values, 0)


@pytest.mark.parametrize("value", [INF, NAN])
def test_a_number_by_itself(value: float) -> None:
    with pytest.raises(bm.InputError, match="index 0"):
        check_finite(torch.tensor(value), "It")
    check_finite(torch.tensor(0.5), "It")


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_nothing_is_finite(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    check_finite(torch.empty(shape, dtype=dtype), "It")


@pytest.mark.parametrize("bad", [False, True])
def test_an_input_with_gradients(bad: bool) -> None:
    """A number made of it would come with a warning, which is an error here."""
    x = torch.tensor([[1.0, NAN if bad else 2.0]], requires_grad=True)
    if bad:
        with pytest.raises(bm.InputError, match="index 0"):
            check_finite(x, "It")
    else:
        check_finite(x, "It")
        assert bm.local_affine(nn.Linear(2, 1), x, 0).certificate.passed
    assert x.requires_grad
    assert x.grad is None


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers(dtype: torch.dtype) -> None:
    values = torch.tensor([[1 + 2j, 0], [3, -1j]], dtype=dtype)
    check_finite(values, "It")
    large = torch.finfo(dtype).max
    check_finite(torch.tensor([complex(large, large)] * 2, dtype=dtype), "It")
    for wrong in (complex(INF, 0), complex(0, NAN)):
        values[1, 0] = wrong
        with pytest.raises(bm.InputError, match="index 1"):
            check_finite(values, "It")


def made(kind: str) -> Tensor:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    return {"transposed": x.T, "expanded": x[:1].expand(3, 2), "every other": x[:, ::2]}[kind]


@pytest.mark.parametrize("kind", ["transposed", "expanded", "every other"])
def test_views(kind: str) -> None:
    check_finite(made(kind), "It")
    wrong = made(kind)
    wrong.data[:1, :1] = INF
    with pytest.raises(bm.InputError, match="It is not finite"):
        check_finite(wrong, "It")
