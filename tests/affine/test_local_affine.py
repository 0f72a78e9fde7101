"""`local_affine`: exact (w, b), an independent ledger, a certificate."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.certify import certify, linear_part
from biasmatters.affine.recording import Options, record
from tests.affine.nets import Residual, Written, seeded


def test_a_net_that_can_be_worked_out_by_hand() -> None:
    """f = 2 relu(x1 - x2 + 1) - 3 relu(x2 - 4) + 5 at (3, 1): w = (2, -2), b = 2 + 5."""
    first, last = nn.Linear(2, 2), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1], [0, 1]]))
        first.bias.copy_(torch.tensor([1.0, -4]))
        last.weight.copy_(torch.tensor([[2.0, -3]]))
        last.bias.fill_(5)
    net = nn.Sequential(first, nn.ReLU(), last).eval()
    form = bm.local_affine(net, torch.tensor([[3.0, 1]]))
    assert form.weight.tolist() == [[2, -2]]
    assert form.bias.tolist() == [7]
    assert form.output.tolist() == [11]
    assert {row.name: row.share.tolist() for row in form.ledger} == {"0": [2], "2": [5]}
    assert form.certificate.verdict == "exact"
    assert form.certificate.margin.tolist() == [3]


def test_its_bias_map_by_hand() -> None:
    """All of b = 7 meets unit 1, whose contributions are 3 and -1: proportional gives 3 : 1."""
    test_net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).eval()
    with torch.no_grad():
        test_net[0].weight.copy_(torch.tensor([[1.0, -1]]))
        test_net[0].bias.fill_(1)
        test_net[2].weight.fill_(2)
        test_net[2].bias.fill_(5)
    found = bm.BiasBackprop(test_net, "proportional").explain(torch.tensor([[3.0, 1]]))
    torch.testing.assert_close(found.map, torch.tensor([[5.25, 1.75]]))


@pytest.mark.parametrize("net", [Residual(), Written()], ids=["residual", "written"])
def test_functional_reused_and_in_place(net: nn.Module) -> None:
    torch.manual_seed(0)
    net = seeded(net)
    shape = (4, 2, 6, 6) if isinstance(net, Residual) else (4, 6)
    x = torch.randn(*shape, dtype=torch.float64)
    kept, version = x.clone(), x._version
    form = bm.local_affine(net, x, target=1)
    assert torch.equal(x, kept)
    assert x._version == version
    leaf = x.clone().requires_grad_()
    output = net(leaf)[:, 1]
    (grad,) = torch.autograd.grad(output.sum(), leaf)
    torch.testing.assert_close(form.output, output.detach(), rtol=0, atol=1e-13)
    torch.testing.assert_close(form.weight, grad, rtol=1e-12, atol=1e-13)
    assert form.certificate.verdict == "exact"
    assert float(form.certificate.residual.max()) < 1e-12
    for rule in bm.RULES:
        found = bm.BiasBackprop(net, rule).explain(x, 1)
        assert float(found.residual.max()) < 1e-12


def test_the_certificate_fails_when_an_intercept_is_lost() -> None:
    """The ledger is no restatement of f - w.x: without one row the two disagree."""
    torch.manual_seed(0)
    net = seeded(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)))
    recording = record(net, (torch.randn(2, 4, dtype=torch.float64),), 0, Options())
    bias = recording.output - linear_part(recording)
    ledger = recording.ledger()
    assert certify(recording, ledger, bias).passed
    assert not certify(recording, bm.Ledger(ledger.rows[1:]), bias).passed


def test_finite_differences_inside_the_margin() -> None:
    """While no pre-activation moves by the margin, f(x + d) = w (x + d) + b."""
    torch.manual_seed(1)
    net = seeded(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Hardtanh(),
                               nn.Linear(8, 2)))  # fmt: skip
    x = torch.randn(3, 5, dtype=torch.float64)
    form = bm.local_affine(net, x, 0)
    first = torch.linalg.matrix_norm(net[0].weight.detach(), 2)
    second = torch.linalg.matrix_norm(net[2].weight.detach(), 2)
    reach = max(first.item(), (first * second).item())
    step = torch.randn_like(x)
    step *= 0.99 * form.certificate.margin[:, None] / (reach * step.norm(dim=1, keepdim=True))
    moved = net(x + step)[:, 0]
    affine = (form.weight * (x + step)).sum(1) + form.bias
    torch.testing.assert_close(moved, affine, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [F.gelu, F.silu, torch.tanh, torch.sigmoid, F.softplus, F.elu, lambda z: F.softmax(z, 1),
     lambda z: F.layer_norm(z, (6,)), lambda z: z * z.sigmoid(), lambda z: z / (1 + z.abs()),
     F.hardswish, lambda z: F.normalize(z), lambda z: z @ z.mT @ z],
)  # fmt: skip
def test_smooth_operations_are_first_order_and_named(function: object) -> None:
    torch.manual_seed(2)
    first, last = seeded(nn.Linear(5, 6)), seeded(nn.Linear(6, 2))

    def net(x: Tensor) -> Tensor:
        return last(function(first(x)))

    x = torch.randn(1, 5, dtype=torch.float64)
    form = bm.local_affine(net, x, 1)
    assert form.certificate.verdict == "first-order"
    assert form.certificate.first_order_ops
    assert float(form.certificate.residual.max()) < 1e-12
    for rule in bm.RULES:
        assert float(bm.BiasBackprop(net, rule).explain(x, 1).residual.max()) < 1e-12


@pytest.mark.parametrize(
    "function",
    [F.relu6, F.hardtanh, F.hardsigmoid, F.leaky_relu, torch.abs, lambda z: z.clamp(-0.2, 0.3),
     lambda z: F.threshold(z, 0.1, 0.7), lambda z: F.prelu(z, torch.full((1,), 0.3).double()),
     lambda z: torch.maximum(z, z.flip(1)), lambda z: torch.where(z > 0, z, 0.1),
     lambda z: 1 - 2 * z / 4, lambda z: torch.minimum(z, torch.tensor(0.1)), torch.floor,
     lambda z: z.masked_fill(z < 0, 0.3), lambda z: F.pad(z, (1, 0), value=2.0)[:, :6],
     lambda z: F.rrelu(z), lambda z: z.unflatten(1, (2, 3)).amax(2).repeat(1, 3),
     lambda z: z.cumsum(1), lambda z: torch.einsum("nq,pq->np", z, torch.ones(6, 6).double())],
)  # fmt: skip
def test_piecewise_linear_operations_are_exact(function: object) -> None:
    torch.manual_seed(3)
    first, last = seeded(nn.Linear(5, 6)), seeded(nn.Linear(6, 2))

    def net(x: Tensor) -> Tensor:
        return last(function(first(x)))

    x = torch.randn(3, 5, dtype=torch.float64)
    form = bm.local_affine(net, x, 1)
    assert form.certificate.verdict == "exact"
    assert float(form.certificate.residual.max()) < 1e-12
    step = 1e-9 * torch.randn_like(x)
    affine = (form.weight * (x + step)).sum(1) + form.bias
    torch.testing.assert_close(net(x + step)[:, 1], affine, rtol=0, atol=1e-13)
    for rule in bm.RULES:
        assert float(bm.BiasBackprop(net, rule).explain(x, 1).residual.max()) < 1e-12


def test_several_inputs_and_a_callable_target() -> None:
    torch.manual_seed(4)
    a, b = seeded(nn.Linear(3, 4)), seeded(nn.Linear(2, 4))

    def net(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"logits": F.relu(a(x)) - F.relu(b(y))}

    x, y = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    form = bm.local_affine(net, (x, y), lambda out: out[:, 0] - out[:, 1], output="logits")
    assert isinstance(form.weight, tuple)
    assert [w.shape for w in form.weight] == [x.shape, y.shape]
    total = sum((w * i).sum(1) for w, i in zip(form.weight, (x, y), strict=True)) + form.bias
    torch.testing.assert_close(total, form.output)
    found = bm.BiasBackprop(net, "uniform", output="logits").explain((x, y), 2)
    assert isinstance(found.map, tuple)
    assert found.complete


def test_the_ledger_as_a_table() -> None:
    net = seeded(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)))
    form = bm.local_affine(net, torch.randn(2, 3, dtype=torch.float64), 0)
    table = form.ledger.to_pandas()
    assert list(table.columns) == ["name", "kind", "op", "sample", "share"]
    assert table.groupby("sample").share.sum().tolist() == pytest.approx(form.bias.tolist())


def test_shares_of_either_sign_add_up() -> None:
    shares = torch.tensor([[1.0, -2.0], [-3.0, 1.0]])
    ledger = bm.Ledger(tuple(bm.LedgerRow("", "mixing", "linear", share) for share in shares))
    assert ledger.total().tolist() == [-2, -1]
    assert ledger.absolute().tolist() == [4, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    net = seeded(Residual(), 0.2).to(dtype)
    found = bm.BiasBackprop(net, "proportional").explain(torch.randn(2, 2, 6, 6, dtype=dtype), 0)
    assert found.map.dtype == dtype
    assert found.complete
    assert found.certificate is not None
    assert found.certificate.passed


class Narrow(nn.Module):
    """Layers in half precision whose biases cancel, and an output in single."""

    def __init__(self) -> None:
        super().__init__()
        self.plus, self.minus = nn.Linear(2, 1).half(), nn.Linear(2, 1).half()
        for layer, value in ((self.plus, 4e4), (self.minus, -4e4)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, value)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.plus(x) + self.minus(x)).float()
        return out


def test_sizes_beyond_a_layers_format_are_added_up_in_the_outputs() -> None:
    form = bm.local_affine(Narrow().eval(), torch.ones(1, 2).half(), 0)
    assert form.certificate.injected_mass.tolist() == [80000]
    assert form.ledger.total().tolist() == [0]
    assert {row.share.dtype for row in form.ledger} == {torch.float32}
