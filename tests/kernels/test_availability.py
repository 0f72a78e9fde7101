"""What kernels take, and how they are switched off."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from biasmatters.kernels import available, fit, without_kernels

pytest.importorskip("numba")

PLAIN = torch.ones(2, 3, 4)
REFUSED: dict[str, tuple[Tensor, ...]] = {
    "half": (PLAIN.half(),),
    "bfloat16": (PLAIN.bfloat16(),),
    "whole numbers": (PLAIN.long(),),
    "booleans": (PLAIN.bool(),),
    "complex": (PLAIN.to(torch.complex64),),
    "transposed": (PLAIN.mT,),
    "sliced": (PLAIN[:, :2],),
    "expanded": (PLAIN[:1].expand(2, 3, 4),),
    "channels last": (torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),),
    "empty": (torch.empty(0, 3),),
    "mixed formats": (PLAIN, PLAIN.double()),
    "one of them empty": (PLAIN, torch.empty(2, 0)),
    "one of them sliced": (PLAIN, PLAIN, PLAIN[..., 1:]),
    "elsewhere": (torch.ones(2, device="meta"),),
}


@pytest.mark.parametrize("tensors", REFUSED.values(), ids=REFUSED)
def test_what_kernels_cannot_take_is_refused(tensors: tuple[Tensor, ...]) -> None:
    assert not fit(*tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plain_tensors_of_one_format_fit(dtype: torch.dtype) -> None:
    one = PLAIN.to(dtype)
    assert fit(one)
    assert fit(one, one[0], one[:, :1].contiguous(), one.clone().requires_grad_())
    assert fit(nn.Parameter(one), one[1:])
    assert fit(torch.ones(2, 1, 4, 5, dtype=dtype).contiguous(memory_format=torch.channels_last))


def test_nothing_fits_without_kernels() -> None:
    assert available()
    with without_kernels():
        assert not available()
        assert not fit(PLAIN)
    assert available()
    assert fit(PLAIN)


def test_kernels_come_back_after_an_exception() -> None:
    with pytest.raises(KeyError), without_kernels():
        raise KeyError
    assert available()


def test_switching_off_nests() -> None:
    with without_kernels():
        with without_kernels():
            assert not available()
        assert not available()
        with pytest.raises(KeyError), without_kernels():
            raise KeyError
        assert not available()
    assert available()
