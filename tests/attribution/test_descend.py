"""The downward map of bias back-propagation alone, and the gradient's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.errors import InputError
from biasmatters.affine.places import place_of
from biasmatters.affine.recording import Options, record
from biasmatters.attribution import Gradient, InputXGradient
from biasmatters.types import INPUT, Descends
from tests.affine.nets import Residual, seeded

LINEAR = [rule for rule in bm.RULES if rule != "softmax_signed"]
FALLBACKS = ["uniform", "weight", "drop"]


def cnn(act: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    return seeded(nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), act(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), act(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 8), act(),
        nn.Linear(8, 3),
    ), 0.3)  # fmt: skip


class Block(nn.Module):
    """A residual network of modules that run once, but for the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.act, self.end = nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        g = self.act(self.stem(x))
        h = self.end(self.norm(self.conv(g)) + g)
        out: Tensor = self.head(self.pool(h).flatten(1))
        return out


def pictures(size: int = 12) -> Tensor:
    x = torch.rand(3, 2, size, size, generator=torch.Generator().manual_seed(1)).double()
    x[0, :, :6, :6] = 0  # a dead corner, so that the fallback has something to do
    return x


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("rule", LINEAR)
@pytest.mark.parametrize("make", [cnn, Block])
def test_what_every_layer_puts_in_comes_down_to_the_whole_map(
    make: type[nn.Module], rule: str, fallback: str, fold: bool
) -> None:
    """The recursion is linear in what is put in: one descent for each layer with a bias."""
    net, x = make(), pictures()
    net = seeded(net, 0.3) if isinstance(net, Block) else net
    bbp = bm.BiasBackprop(net, rule, fold=fold, fallback=fallback)  # type: ignore[arg-type]
    assert isinstance(bbp, Descends)
    total, met = torch.zeros_like(x), 0
    recording = record(net, (x,), [0, 2, 1], Options())
    for step in recording.steps:
        injected = step.injected()
        if injected is not None:
            total += bbp.descend(x, step.label, injected.expand_as(step.output), [INPUT])[INPUT]
            met += 1
    assert met >= 4
    torch.testing.assert_close(total, bbp.explain(x, [0, 2, 1]).map)


@pytest.mark.parametrize("rule", bm.RULES)
def test_a_way_down_is_its_parts_one_after_the_other(rule: str) -> None:
    net, x = cnn(), pictures()
    bbp = bm.BiasBackprop(net, rule)
    signal = torch.randn(3, 8, generator=torch.Generator().manual_seed(2)).double()
    layers = ["8", "6", "5", "4", "3", "2", "1", "0", INPUT]
    whole = bbp.descend(x, "9", signal, layers)
    assert list(whole) == layers
    assert whole["5"].shape == (3, 6, 4, 4)
    for middle in ("6", "3"):
        rest = bbp.descend(x, middle, whole[middle], [INPUT])
        torch.testing.assert_close(rest[INPUT], whole[INPUT])


@pytest.mark.parametrize("rule", bm.RULES)
def test_rows_sum_to_one(rule: str) -> None:
    """Nothing is dead behind leaky ReLUs, so that every positive signal keeps its sum."""
    net, x = cnn(nn.LeakyReLU), pictures() + 0.1
    signal = torch.rand(3, 6, 4, 4, generator=torch.Generator().manual_seed(2)).double()
    layers = ["4", "3", "2", "0", INPUT]
    for at in bm.BiasBackprop(net, rule).descend(x, "5", signal, layers).values():
        torch.testing.assert_close(at.flatten(1).sum(1), signal.flatten(1).sum(1))
        assert float(at.min()) >= 0


def test_it_equals_its_definition() -> None:
    """alpha written out for a dense network; units that the ReLU has switched off get nothing."""
    torch.manual_seed(1)
    net = seeded(
        nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    )
    x, v = torch.rand(1, 5).double(), torch.randn(1, 6).double()
    found = bm.BiasBackprop(net, "softmax_neg_abs", 0.7).descend(x, "3", v, ["2", "1", INPUT])
    assert 0 < int((net[:4](x) == 0).sum()) < 6
    r = v * (net[:4](x) != 0)
    torch.testing.assert_close(found["2"], r)
    for layer, name in ((2, "1"), (0, INPUT)):
        e = net[layer].weight * net[:layer](x)
        alpha = (-e.abs() / 0.7).masked_fill(e == 0, -torch.inf).softmax(1).detach()
        r = r @ alpha
        torch.testing.assert_close(found[name], r)


@pytest.mark.parametrize("start", ["0", "1", "2"])
def test_a_signal_at_a_dead_unit_is_left_out(start: str) -> None:
    """At the ReLU's output, before it, and before the batch-norm that it follows."""
    net, x = cnn(), pictures()
    live = net[:3](x) != 0
    assert 0.1 < float(live.double().mean()) < 0.9
    bbp = bm.BiasBackprop(net, "proportional")
    found = bbp.descend(x, start, torch.ones_like, [INPUT])[INPUT]
    torch.testing.assert_close(found.flatten(1).sum(1), live.double().flatten(1).sum(1))
    again = bbp.descend(x, start, live.double(), [INPUT])[INPUT]
    torch.testing.assert_close(again, found)


def test_a_sample_is_on_its_own_and_the_model_as_it_was() -> None:
    net, x = seeded(Residual()), pictures(8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    bbp = bm.BiasBackprop(net)
    signal = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    whole = bbp.descend(x, "act", signal, ["first", INPUT])
    alone = bbp.descend(x[1:2], "act", signal[1:2], ["first", INPUT])
    for name, at in whole.items():
        torch.testing.assert_close(alone[name], at[1:2])
        assert not at.requires_grad
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    torch.testing.assert_close(
        bbp.descend(x, "act", lambda out: 2 * out, [INPUT]),
        bbp.descend(x, "act", 2 * net.act(net.norm(net.first(x))).detach(), [INPUT]),
    )


def test_bad_questions_are_refused() -> None:
    net, x = seeded(Residual()), pictures(8)
    bbp = bm.BiasBackprop(net)
    with pytest.raises(InputError, match=r"No operation of 'drop' .* such as 'first'"):
        bbp.descend(x, "drop", torch.ones_like, [INPUT])
    with pytest.raises(InputError, match="'shared' runs more than once"):
        bbp.descend(x, "head", torch.ones_like, ["shared"])
    with pytest.raises(InputError, match=r"from 'first' to .*'norm'"):
        bbp.descend(x, "first", torch.ones_like, ["norm"])
    with pytest.raises(InputError, match=r"\(3, 4\) .* \(3, 4, 8, 8\)"):
        bbp.descend(x, "first", torch.ones(3, 4), [INPUT])
    with pytest.raises(InputError, match="No operation of ''"):
        bbp.descend(x, "", torch.ones_like, [INPUT])


def test_a_block_puts_out_what_its_last_operation_does() -> None:
    net, x = nn.Sequential(seeded(Block()), nn.ReLU()), pictures()
    recording = record(net.eval(), (x,), 0, Options())
    assert recording.steps[place_of(recording, "0")].label == "0.head"
    assert recording.steps[place_of(recording, "0.norm")].node.call.op == "batch_norm"


def test_the_gradient_of_a_part() -> None:
    net, x = cnn(), pictures()
    signal = torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(2)).double()
    found = Gradient(net).descend(x, "5", signal, ["3", INPUT])
    leaf = x.clone().requires_grad_()
    middle = net[:4](leaf)
    wanted = torch.autograd.grad(net[4:6](middle), [middle, leaf], signal)
    torch.testing.assert_close([found["3"], found[INPUT]], list(wanted))
    with pytest.raises(InputError, match="give a module"):
        Gradient(lambda x: net(x)).descend(x, "5", signal, [INPUT])
    assert not isinstance(InputXGradient(net), Descends)


class Beside(nn.Module):
    """A part that does not run, one that does not see the input, one that gives two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.apart, self.last = nn.Linear(2, 2), nn.Identity(), nn.Linear(4, 3)
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.pair(x)[0]) + self.apart(torch.ones(3))
        return out


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x - 1


def test_places_that_autograd_cannot_take() -> None:
    gradient, x = Gradient(Beside().eval()), torch.rand(2, 4)
    for start, layer, match in (
        ("last", "idle", "does not run"),
        ("idle", INPUT, "does not run"),
        ("last", "apart", "Nothing gets from"),
        ("apart", INPUT, "Nothing gets from"),
        ("last", "pair", "puts out a tuple"),
    ):
        with pytest.raises(InputError, match=match):
            gradient.descend(x, start, torch.ones_like, [layer])


class Single(nn.Module):
    """A layer whose output has no axes, which the sum over a batch of one has."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


class Ends(nn.Module):
    """A head on a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.single, self.head = nn.Linear(3, 4), Single(), nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.single(self.body(x)).reshape(1, 1))


def test_a_layer_whose_output_is_a_single_number() -> None:
    bbp = bm.BiasBackprop(Ends().eval(), "uniform")
    found = bbp.descend(torch.rand(1, 3), "head", torch.ones(1, 2), ["single", "body"])
    assert found["single"].shape == ()
    assert float(found["single"]) == 2
    torch.testing.assert_close(found["body"].sum(), torch.tensor(2.0))
