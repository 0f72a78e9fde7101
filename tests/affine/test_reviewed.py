"""What a review found wrong while the certificate passed: the output must be the model's own."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm

Net = Callable[[Tensor], Tensor]


def addcmul_in_place(x: Tensor) -> Tensor:
    y = x * 1.0
    y.addcmul_(x, x + 1, value=0.5)
    y.lerp_(x * 3, 0.3)
    return y


def view_of_a_changed_view(x: Tensor) -> Tensor:
    y = x * 1.0
    v = y[:, :3]
    v.add_(1)
    v[:, :2].mul_(3)
    return y


def view_by_keyword(x: Tensor) -> Tensor:
    h = x * 2
    torch.flatten(input=h, start_dim=1).add_(1.0)
    return h


def relu_by_keyword(x: Tensor) -> Tensor:
    h = x * 2
    F.relu(input=h, inplace=True)
    return h


def decimal_constants(x: Tensor) -> Tensor:
    return (x + 0.1) * 0.3 - 0.7


def broadcast_power(x: Tensor) -> Tensor:
    return (x[..., None] ** torch.arange(1, 4)).flatten(1)


def floor_division(x: Tensor) -> Tensor:
    return x + torch.div(x, 0.3, rounding_mode="floor")


def mixed_dtypes(x: Tensor) -> Tensor:
    return (x.float() * 2).double() + x


@pytest.mark.parametrize(
    "net",
    [addcmul_in_place, view_of_a_changed_view, view_by_keyword, relu_by_keyword,
     decimal_constants, broadcast_power, floor_division, mixed_dtypes],
)  # fmt: skip
def test_the_recorded_output_is_the_models_own(net: Net) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    output = net(leaf)[:, 1]
    (grad,) = torch.autograd.grad(output.sum(), leaf)
    form = bm.local_affine(net, x, 1)
    torch.testing.assert_close(form.output, output.detach())
    torch.testing.assert_close(form.weight, grad)
    assert form.certificate.passed
    assert bm.BiasBackprop(net, "proportional").explain(x, 1).complete


def test_random_views_and_writes() -> None:
    """Programs of views and in-place writes give what they give without the tape."""
    for seed in range(60):
        program = random.Random(seed)
        steps = [(program.randrange(4), program.random()) for _ in range(8)]

        def net(x: Tensor, steps: list[tuple[int, float]] = steps) -> Tensor:
            held = [x * 1.0]
            for kind, where in steps:
                one = held[int(where * len(held))]
                if kind == 0:
                    start = int(where * 2)
                    held.append(one[:, start : start + max(1, one.shape[1] - 1)])
                elif kind == 1:
                    one.add_(where)
                elif kind == 2:
                    one.mul_(0.5)
                else:
                    one[:, 0] = held[0][:, -1] * 2
            return held[0] + sum(h.sum(1, keepdim=True) for h in held[1:])

        torch.manual_seed(seed)
        x = torch.randn(2, 6, dtype=torch.float64)
        form = bm.local_affine(net, x, 0)
        torch.testing.assert_close(form.output, net(x)[:, 0])
        assert form.certificate.passed


def test_what_is_beside_the_explained_path_does_not_fold() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()

    def two(x: Tensor) -> tuple[Tensor, Tensor]:
        z = net(x)
        return z, F.relu(z)

    x = torch.randn(4, 4, dtype=torch.float64)
    plain = bm.BiasBackprop(net, "softmax_abs").attribute(x, 0)
    beside = bm.BiasBackprop(two, "softmax_abs", output=0).attribute(x, 0)
    torch.testing.assert_close(plain, beside)


def test_constructors_that_cut_are_named() -> None:
    with pytest.warns(UserWarning, match="copy construct"):
        form = bm.local_affine(lambda x: x * torch.tensor(x), torch.ones(1, 2), 0)
    assert form.certificate.verdict == "first-order"


def test_the_margin_is_never_infinite_where_there_is_a_choice() -> None:
    form = bm.local_affine(lambda x: x.amax(1), torch.tensor([[1.0, 1.01]]))
    assert form.certificate.margin.tolist() == pytest.approx([0.005], rel=1e-4)


def test_nothing_runs_before_it_is_refused() -> None:
    state = torch.get_rng_state()
    with pytest.raises(bm.TrainingModeError):
        bm.local_affine(lambda x: F.dropout(x, 0.5), torch.ones(1, 3), 0)
    assert torch.equal(state, torch.get_rng_state())
    mean, var = torch.zeros(3), torch.ones(3)
    with pytest.raises(bm.TrainingModeError):
        bm.local_affine(lambda x: F.batch_norm(x, mean, var, training=True), torch.rand(4, 3), 0)
    assert mean.tolist() == [0, 0, 0]


def test_a_model_that_changes_its_input_leaves_ours_alone() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)).eval()
    x = torch.tensor([[-1.0, 2, 3]])
    for method in (bm.Gradient(net), bm.InputXGradient(net), bm.BiasBackprop(net)):
        method.explain(x, 0)
        assert x.tolist() == [[-1, 2, 3]]


def test_wrong_counts_of_targets_are_refused_in_chunks_too() -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(bm.InputError):
        bm.BiasBackprop(net).attribute(torch.ones(4, 3), [0, 1, 0, 1, 99], internal_batch_size=2)


def test_a_large_bfloat16_batch() -> None:
    net = nn.Linear(3, 2).bfloat16()
    x = torch.zeros(300, 3, dtype=torch.bfloat16)
    assert bm.BiasBackprop(net).explain(x, 0).complete
