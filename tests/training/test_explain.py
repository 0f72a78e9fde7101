"""Attribution through Lightning: gradients on, batches in order, incomplete maps refused."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from biasmatters.training import Explain, predict
from biasmatters.training.explain import IncompleteError
from biasmatters.types import Attribution, Certificate

OPTIONS = {"accelerator": "cpu", "devices": 1}


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def images() -> TensorDataset:
    x = torch.rand(7, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, torch.zeros(7, dtype=torch.long), torch.arange(10, 17))


class Gradient:
    """The gradient by plain autograd; it promises ``excess`` more than it gives."""

    def __init__(self, model: nn.Module, excess: float | None = None, exact: bool = False) -> None:
        self.model = model
        none = torch.zeros(0)
        self.certificate = Certificate("exact", (), *[none] * 5) if exact else None
        self.excess = excess

    def explain(self, x, target=None):
        x = x.clone().requires_grad_()
        out = self.model(x).gather(1, target[:, None]).sum()
        residual = torch.full((len(x),), float("nan"))
        if self.excess is not None:
            residual = (x[:, 0, 0, 0] == x[:, 0, 0, 0].max()).float() * self.excess
        grad = torch.autograd.grad(out, x)[0]
        tolerance = torch.full_like(residual, 0.5)
        return Attribution(grad, target, residual, tolerance, self.certificate)


def test_the_maps_are_those_of_the_method_in_the_order_of_the_images() -> None:
    net, data = network(), images()
    batches = predict(Explain(net, Gradient(net)), data, batch_size=3, label="test", **OPTIONS)
    assert [len(batch.image) for batch in batches] == [3, 3, 1]
    assert torch.cat([b.image for b in batches]).tolist() == list(range(10, 17))
    x = data.tensors[0]
    target = net(x).argmax(1)
    assert torch.equal(torch.cat([b.target for b in batches]), target)
    expected = Gradient(net).explain(x, target).map
    torch.testing.assert_close(torch.cat([b.maps for b in batches]), expected)
    assert all(b.seconds > 0 and b.forward_seconds > 0 for b in batches)
    assert all(b.residual.isnan().all() and b.fallback.isnan().all() for b in batches)


def test_an_incomplete_map_stops_the_stage_and_names_the_image() -> None:
    net, data = network(), images()
    worst = 10 + int(data.tensors[0][:, 0, 0, 0].argmax())
    with pytest.raises(IncompleteError, match=rf"image {worst} misses its total by 0\.75"):
        predict(Explain(net, Gradient(net, 0.75, True)), data, batch_size=7, label="t", **OPTIONS)
    predict(Explain(net, Gradient(net, 0.25, True)), data, batch_size=7, label="t", **OPTIONS)


def test_a_method_that_only_approximates_its_total_keeps_its_residual() -> None:
    net = network()
    (batch,) = predict(
        Explain(net, Gradient(net, 0.75)), images(), batch_size=7, label="t", **OPTIONS
    )
    assert int((batch.residual > batch.tolerance).sum()) == 1
    assert len(batch.image) == 7


def test_diagnostics_are_taken_once_on_the_first_batch() -> None:
    net, calls = network(), []

    def diagnose(x, target):
        calls.append(len(x))
        return {"row_entropy/1": 0.5}

    module = Explain(net, Gradient(net), diagnose)
    batches = predict(module, images(), batch_size=3, label="test", **OPTIONS)
    assert calls == [3]
    assert [dict(b.diagnostics) for b in batches] == [{"row_entropy/1": 0.5}, {}, {}]


def test_the_model_comes_back_as_it_went_in() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    predict(Explain(net, Gradient(net)), images(), batch_size=4, label="test", **OPTIONS)
    assert not net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
