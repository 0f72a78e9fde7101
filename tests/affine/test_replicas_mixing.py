"""Dense replicas of operations that mix by known coefficients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference.case import Case, assert_replicas_agree
from tests.reference.links import Stage


def constant(*shape: int) -> Tensor:
    """A matrix with a zero in it, so that wiring counts."""
    made = torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    made.flatten()[1] = 0
    return made


W, HEADS, VECTOR = constant(5, 4), constant(2, 5, 4), constant(4)

PRODUCTS = {
    "matrix_times_x": Case.one(lambda x: W @ x, 4, 3),
    "x_times_matrix": Case.one(lambda x: x @ W.T, 3, 4),
    "heads_times_x": Case.one(lambda x: torch.matmul(HEADS, x), 2, 4, 3),
    "x_times_heads": Case.one(lambda x: torch.matmul(x, HEADS.mT), 2, 3, 4),
    "reflected": Case.one(lambda x: x.__rmatmul__(W), 4, 3),
    "x_times_vector": Case.one(lambda x: x @ VECTOR, 3, 4),
    "vector_times_x": Case.one(lambda x: VECTOR @ x, 4, 3),
    "bmm_left": Case.one(lambda x: torch.bmm(W.expand(len(x), 5, 4), x), 4, 3),
    "bmm_right": Case.one(lambda x: torch.bmm(x, W.T.expand(len(x), 4, 5)), 3, 4),
    "mm": Case.one(lambda x: torch.mm(x, W.T), 4),
    "addmm": Case.one(lambda x: torch.addmm(W[:, 0], x, W.T), 4),
    "linear_over_tokens": Case.one(lambda x: F.linear(x, W, W[:, 0]), 3, 4),
}

EINSUMS = {
    "columns": Case.one(lambda x: torch.einsum("nij,jk->nik", x, W.T), 3, 4),
    "rows": Case.one(lambda x: torch.einsum("nij,ki->nkj", x, W), 4, 3),
    "constant_first": Case.one(lambda x: torch.einsum("ki,nij->nkj", W, x), 4, 3),
    "heads": Case.one(lambda x: torch.einsum("nhij,hki->nhkj", x, HEADS), 2, 4, 3),
    "two_inner": Case.one(lambda x: torch.einsum("nhij,hki->nkj", x, HEADS), 2, 4, 3),
    "turned": Case.one(lambda x: torch.einsum("nij,ki->njk", x, W), 4, 3),
    "outer": Case.one(lambda x: torch.einsum("ni,k->nik", x, VECTOR[2:]), 3),
    "sum": Case.one(lambda x: torch.einsum("nij->nj", x), 4, 3),
    "sum_first": Case(
        lambda x: torch.einsum("nij,ki->nk", x, W),
        (4, 3),
        lambda _: [Stage(lambda x: x.sum(2), "apart"), Stage(lambda x: x @ W.T)],
    ),
}

REDUCTIONS = {
    "cumsum": Case.one(lambda x: x.cumsum(1), 5),
    "cumsum_last": Case.one(lambda x: torch.cumsum(x, dim=-1), 3, 4),
    "mean": Case.one(lambda x: x.mean(1), 3, 4),
    "mean_kept": Case.one(lambda x: x.mean(-1, keepdim=True), 3, 4),
    "mean_of_two": Case.one(lambda x: x.mean((-2, -1)), 3, 2, 2),
    "mean_of_outer": Case.one(lambda x: x.mean((1, 3)), 2, 3, 2),
    "sum": Case.one(lambda x: x.sum(2), 3, 4),
    "sum_of_two": Case.one(lambda x: torch.sum(x, dim=(1, 2), keepdim=True), 3, 2, 2),
}


def resized(x: Tensor, mode: str, **options: object) -> Tensor:
    return F.interpolate(x, mode=mode, **options)


RESAMPLED = {
    "bicubic": Case.one(lambda x: resized(x, "bicubic", scale_factor=1.5), 1, 3, 4),
    "bicubic_aligned": Case.one(
        lambda x: resized(x, "bicubic", size=(4, 5), align_corners=True), 1, 3, 3
    ),
    "area": Case.one(lambda x: resized(x, "area", size=(2, 3)), 2, 3, 4),
    "area_3d": Case.one(lambda x: resized(x, "area", size=(2, 1, 3)), 1, 3, 2, 4),
    "linear": Case.one(lambda x: resized(x, "linear", scale_factor=2), 2, 4),
    "bilinear": Case.one(lambda x: resized(x, "bilinear", size=(5, 2)), 2, 3, 3),
    "trilinear": Case.one(lambda x: resized(x, "trilinear", size=(3, 2, 3)), 1, 2, 3, 2),
    "trilinear_aligned": Case.one(
        lambda x: resized(x, "trilinear", scale_factor=1.5, align_corners=True), 1, 2, 2, 3
    ),
    "fold": Case.one(lambda x: F.fold(x, (4, 3), 2), 8, 6),
    "fold_spaced": Case.one(
        lambda x: F.fold(x, (5, 4), (2, 3), dilation=(2, 1), padding=(1, 0), stride=(2, 1)), 6, 6
    ),
    "transposed_3d": Case.one(
        lambda x: F.conv_transpose3d(x, W[:2, :, None, None, None], stride=2), 2, 1, 2, 2
    ),
}

MEETING = {
    "add": Case.one(lambda x: x[:, 0] + x[:, 1], 2, 6),
    "add_alpha": Case.one(lambda x: torch.add(x[:, 0], x[:, 1], alpha=0.4), 2, 6),
    "sub": Case.one(lambda x: torch.sub(x[:, 0], x[:, 1], alpha=1.5), 2, 6),
    "rsub": Case.one(lambda x: torch.rsub(x[:, 0], x[:, 1], alpha=2), 2, 6),
    "add_broadcast": Case.one(lambda x: x[:, 0] + x[:, 1, :1], 2, 6),
    "maximum": Case.one(lambda x: torch.maximum(x[:, 0], x[:, 1]), 2, 6, affine=False),
    "minimum": Case.one(lambda x: torch.minimum(x[:, 0], x[:, 1]), 2, 6, affine=False),
}

CASES = {**PRODUCTS, **{f"einsum_{k}": v for k, v in EINSUMS.items()}, **REDUCTIONS, **RESAMPLED,
         **MEETING}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mixing_operation(name: str) -> None:
    assert_replicas_agree(CASES[name])
