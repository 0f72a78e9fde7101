"""A name says nothing about whose function it is, nor about the order of its arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import biasmatters as bm
from biasmatters.affine.form import elementwise

X = torch.tensor([[-0.5, 1.0, 2.0]], dtype=torch.float64)


def wrapped(function: Any) -> Any:
    return torch.overrides.wrap_torch_function(lambda t: (t,))(function)


def test_a_function_of_ones_own_called_relu_is_not_torchs() -> None:
    def relu(t: Tensor) -> Tensor:
        return F.leaky_relu(t, 0.1)

    with pytest.raises(bm.UnsupportedOperationError, match=r"relu' .* does not know it"):
        bm.local_affine(wrapped(relu), X, 0)


def test_it_is_known_by_itself_once_registered() -> None:
    def relu(t: Tensor) -> Tensor:
        return F.leaky_relu(t, 0.1)

    own = wrapped(relu)
    bm.register_op(own, lambda call: elementwise(call, lambda: (X > 0) * 0.9 + 0.1, gap=X.abs))
    form = bm.local_affine(lambda t: own(t) + 1, X, 0)
    assert form.certificate.passed
    assert form.weight.tolist() == [[0.1, 0, 0]]
    assert bm.local_affine(lambda t: F.relu(t) + 1, X, 0).weight.tolist() == [[0, 0, 0]]


def test_functions_with_an_underscore_of_ones_own_are_not_in_place() -> None:
    def twice_(t: Tensor) -> Tensor:
        return t * 2

    own = wrapped(twice_)
    bm.register_op(own, lambda call: elementwise(call, lambda: torch.full((), 2.0)))
    assert bm.local_affine(lambda t: own(t) + t, X, 0).weight.tolist() == [[3, 0, 0]]


@torch.library.custom_op("bm_tests::relu", mutates_args=())
def custom_relu(t: Tensor) -> Tensor:
    """Really a doubling."""
    return t * 2


custom_relu.register_autograd(lambda _, grad: grad * 2)


def test_an_operator_of_another_library_called_relu() -> None:
    with pytest.raises(bm.UnsupportedOperationError, match=r"bm_tests\.relu"):
        bm.local_affine(lambda t: torch.ops.bm_tests.relu(t) + 0, X, 0)


@torch.library.custom_op("bm_tests::double", mutates_args=())
def double(t: Tensor) -> Tensor:
    """A doubling."""
    return t * 2


double.register_autograd(lambda _, grad: grad * 2)


def test_a_custom_op_is_registered_by_what_defines_it() -> None:
    bm.register_op(double, lambda call: elementwise(call, lambda: torch.full((), 2.0)))
    for call in (double, torch.ops.bm_tests.double, torch.ops.bm_tests.double.default):
        form = bm.local_affine(lambda t, call=call: call(t) + 1, X, 0)
        assert form.certificate.passed
        assert form.weight.tolist() == [[2, 0, 0]]


@pytest.mark.parametrize("keywords", [False, True])
def test_torchs_batch_norm_has_another_order_than_the_functional_one(keywords: bool) -> None:
    weight, bias, mean, var = (torch.full((3,), v, dtype=torch.float64) for v in (2, 1, 0.3, 0.7))

    def net(x: Tensor) -> Tensor:
        if keywords:
            return torch.batch_norm(
                x, weight=weight, bias=bias, running_mean=mean, running_var=var,
                training=False, momentum=0.1, eps=1e-5, cudnn_enabled=False,
            )  # fmt: skip
        return torch.batch_norm(x, weight, bias, mean, var, False, 0.1, 1e-5, False)

    form = bm.local_affine(net, X, 1)
    torch.testing.assert_close(form.output, net(X)[:, 1])
    assert form.certificate.passed
    with pytest.raises(bm.TrainingModeError):
        bm.local_affine(
            lambda x: torch.batch_norm(x, weight, bias, mean, var, True, 0.1, 1e-5, False),
            X.repeat(3, 1),
            0,
        )
    assert mean.tolist() == [0.3] * 3


def test_torchs_operators_are_torchs() -> None:
    form = bm.local_affine(lambda t: torch.ops.aten.relu.default(t) + 1, X, 1)
    assert form.certificate.passed
    assert form.certificate.verdict == "exact"


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.normalize(input=x, dim=1),
        lambda x: F.lp_pool1d(input=x[:, None], norm_type=2, kernel_size=2)[:, 0],
        lambda x: F.bilinear(input1=x, input2=x, weight=torch.ones(2, 3, 3).double()),
    ],
)
def test_torchs_keywords(call: Any) -> None:
    assert bm.local_affine(call, X, 0).certificate.passed
