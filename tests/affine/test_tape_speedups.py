"""What the tape does not do twice, or not at all, changes nothing of what it records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.call import exchange, tensors_of_call
from biasmatters.affine.recording import Options, Recording, record
from biasmatters.affine.vocabulary import ASKS

X = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)


def recorded(model: Callable[[Tensor], Tensor]) -> Recording:
    return record(model, (X,), 0, Options())


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


def test_questions_leave_no_trace() -> None:
    def model(x: Tensor) -> Tensor:
        assert x.dim() == x.ndim == len(x.size()) == len(x.shape) == 2
        assert x.requires_grad
        assert torch.numel(x) == 3
        return x * 2

    found = recorded(model)
    assert [step.node.call.op for step in found.steps] == ["mul"]
    assert not found.frozen
    assert not found.boundaries


def test_a_question_is_answered_for_the_present_value() -> None:
    def model(x: Tensor) -> Tensor:
        y = x * 2
        y.unsqueeze_(0)
        assert y.dim() == 3
        assert y.shape == (1, 1, 3)
        return y[0]

    assert torch.equal(recorded(model).output, X[:, 0] * 2)


def test_a_question_notices_a_function_of_the_users_own() -> None:
    def model(x: Tensor) -> Tensor:
        return x * Hidden.apply(x).dim()

    assert any("on trust" in name for name in recorded(model).frozen)


def test_a_parameter_says_that_it_requires_gradients() -> None:
    weight = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def model(x: Tensor) -> Tensor:
        assert weight.requires_grad
        return x * weight

    assert len(recorded(model).steps) == 1


def test_questions_are_about_no_values() -> None:
    assert not {"item", "tolist", "detach", "get_data", "sum"} & ASKS


def test_a_flat_call_without_changes_is_handed_on() -> None:
    args, kwargs = (X, (1, 2), 3), {"dim": None}
    held, flat = tensors_of_call(args, kwargs)
    assert flat
    assert exchange(args, kwargs, held, held, flat) == (args, kwargs)


def test_a_list_is_copied_even_without_changes() -> None:
    grows = [X]
    held, flat = tensors_of_call((grows, 0), {})
    (copy, _), _ = exchange((grows, 0), {}, held, held, flat)
    assert copy is not grows
    assert copy[0] is X


def test_tensors_are_exchanged_wherever_they_lie() -> None:
    a, b, new = X.clone(), X.clone(), [X.clone(), X.clone(), X.clone()]
    args, kwargs = (a, (b, 1)), {"weight": a, "dim": 0}
    held, flat = tensors_of_call(args, kwargs)
    assert not flat
    assert [id(t) for t in held] == [id(a), id(b), id(a)]
    (first, (second, one)), named = exchange(args, kwargs, held, [new[0], new[1], new[0]], flat)
    assert first is named["weight"] is new[0]
    assert second is new[1]
    assert (one, named["dim"]) == (1, 0)


class Deep(nn.Sequential):
    walks = 0

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        self.walks += 1
        return super().named_modules(*args, **kwargs)


def test_a_model_is_walked_through_once() -> None:
    model = Deep(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3))).double().eval()
    names = [step.node.call.name for step in recorded(model).steps]
    assert model.walks == 1
    assert names == ["0", "1.0", "1.1"]


def test_constants_noted_before_a_write_keep_their_values() -> None:
    counter = torch.ones(3, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        y = x + counter
        counter.add_(1)
        y = y + counter
        counter.add_(1)
        return y

    found = recorded(model)
    constants = [step.node.call.args[1] for step in found.steps]
    assert [float(c[0]) for c in constants] == [1, 2]
