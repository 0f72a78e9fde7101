"""Whole tensors overwritten in place, buffers filled piece by piece, tensors piled up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm

Net = Callable[[Tensor], Tensor]


def copied_over(x: Tensor) -> Tensor:
    y = x * 2 + 1
    y.copy_(x * 3 - 1)
    return y


def copied_into_part(x: Tensor) -> Tensor:
    y = x * 2 + 1
    y[:, 1:].copy_(x[:, 1:] * 3 - 1)
    return y


def copied_into_a_buffer(x: Tensor) -> Tensor:
    buffer = torch.ones(x.shape[0], 6, dtype=x.dtype)
    buffer[:, :4].copy_(x * 5)
    return buffer


def filled(x: Tensor) -> Tensor:
    y = x * 2
    y[:, :2].fill_(0.7)
    y[:, 2:3].zero_()
    return y + x


def asked_for_gradients(x: Tensor) -> Tensor:
    y = x * 2 + 1
    y.requires_grad_()
    return y


def promoted(x: Tensor) -> Tensor:
    y = x.float() * 2
    y.add_(x)
    return y.double()


def empty_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros(x.shape[0], 3, x.shape[1], dtype=x.dtype)
    buffer[:, 0] = x
    buffer[:, 2] = x * 2 + 1
    return buffer.flatten(1)


def rows_of_a_buffer(x: Tensor) -> Tensor:
    buffer = torch.empty(x.shape[0], 3, dtype=x.dtype)
    for i in range(3):
        buffer[:, i] = x[:, i] * (i + 1) + 1
    return buffer


def columns(x: Tensor) -> Tensor:
    return torch.column_stack([x[:, 0] * 2, x + 1, x[:, 1]])


def deep(x: Tensor) -> Tensor:
    return torch.dstack([x * 2, x + 1]).flatten(1)


def beside(x: Tensor) -> Tensor:
    return torch.hstack([x * 2, x + 1])


def below(x: Tensor) -> Tensor:
    return torch.vstack([x.T * 2, x.T + 1]).T


def named_arguments(x: Tensor) -> Tensor:
    y = (x * 1).unflatten(1, (2, -1))
    turned = torch.transpose(input=y, dim0=1, dim1=2)
    turned.mul_(2)
    torch.select(input=y, dim=1, index=0).add_(1)
    return y.flatten(1) + turned.flatten(1)


def shapes_only(x: Tensor) -> Tensor:
    return x * torch.ones_like(x) * 2 + x.new_full(x.shape, 3.0) + torch.zeros_like(x)


NETS: list[Net] = [
    copied_over, copied_into_part, copied_into_a_buffer, filled, asked_for_gradients, promoted,
    empty_buffer, rows_of_a_buffer, columns, deep, beside, below, named_arguments,
    shapes_only,
]  # fmt: skip


@pytest.mark.parametrize("net", NETS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_the_form_is_the_models_own(net: Net, samples: int) -> None:
    x = torch.randn(samples, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    wanted = net(leaf)[:, 1]
    (grad,) = torch.autograd.grad(wanted.sum(), leaf)
    form = bm.local_affine(net, x, 1)
    torch.testing.assert_close(form.output, wanted.detach())
    torch.testing.assert_close(form.weight, grad)
    assert form.certificate.verdict == "exact"
    for rule in bm.RULES:
        assert bm.BiasBackprop(net, rule).explain(x, 1).complete


def test_a_single_picture_without_a_batch_axis() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.ConvTranspose2d(3, 2, 2)).double()

    def net(x: Tensor) -> Tensor:
        return inner(x.squeeze(0)).flatten().unsqueeze(0)

    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    for rule in bm.RULES:
        plain = bm.BiasBackprop(net, rule).explain(x, 3)
        batch = bm.BiasBackprop(lambda x: inner(x).flatten(1), rule).explain(x, 3)
        assert plain.complete
        torch.testing.assert_close(plain.map, batch.map)


def test_output_padding_beyond_the_stride() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.ConvTranspose2d(2, 3, 3, stride=1, dilation=2, output_padding=1), nn.Flatten()
    ).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    for rule in bm.RULES:
        assert bm.BiasBackprop(net, rule).explain(x, 17).complete


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_fold_adds_overlapping_patches(stride: int) -> None:
    def net(x: Tensor) -> Tensor:
        patches = F.unfold(x, 3, padding=1, stride=stride)
        return F.fold(patches * 2 + 1, (7, 6), 3, padding=1, stride=stride).flatten(1)

    x = torch.randn(2, 2, 7, 6, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    wanted = net(leaf)[:, 11]
    (grad,) = torch.autograd.grad(wanted.sum(), leaf)
    form = bm.local_affine(net, x, 11)
    assert form.certificate.verdict == "exact"
    torch.testing.assert_close(form.output, wanted.detach())
    torch.testing.assert_close(form.weight, grad)
    for rule in bm.RULES:
        assert bm.BiasBackprop(net, rule).explain(x, 11).complete


def test_a_scalar_output_that_is_nan_is_named() -> None:
    with pytest.raises(bm.InputError, match="output is not finite at sample index 0"):
        bm.local_affine(lambda x: (x * torch.nan).sum(), torch.ones(1, 2))


def test_no_grad_within_a_model_cuts_nothing() -> None:
    """It changes what autograd keeps, not the function; `detach` is the model's own word."""

    def net(x: Tensor) -> Tensor:
        with torch.no_grad():
            y = x * 2 + 1
        return y + x

    form = bm.local_affine(net, torch.ones(1, 2), 0)
    assert form.weight.tolist() == [[3, 0]]
    assert form.certificate.verdict == "exact"
