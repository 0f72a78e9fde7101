"""Operation by operation: the form is right, every rule conserves the bias, verdicts are honest."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.form import smooth
from biasmatters.affine.recording import Options, record
from tests.affine.nets import seeded


class WithLists(nn.Module):
    """A convolution that is told by lists how it lies."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 2, 3, 2)), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, [2, 1], [1, 0], [1, 2])


EXACT: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), (3, 7)),
    "conv2d_reflect": (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (2, 5, 6)),
    "conv2d_replicate": (
        lambda: nn.Conv2d(2, 4, (3, 2), padding=(1, 0), padding_mode="replicate"), (2, 5, 6)),
    "conv2d_same": (lambda: nn.Conv2d(2, 4, (2, 3), padding="same", dilation=(1, 2)), (2, 5, 6)),
    "conv2d_valid": (lambda: nn.Conv2d(4, 4, 3, padding="valid", groups=2), (4, 5, 6)),
    "conv2d_lists": (WithLists, (2, 5, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 2, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(3, 4, 3, stride=2, dilation=2), (3, 4)),
    "transposed2d": (
        lambda: nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, groups=2), (4, 3, 3)),
    "transposed3d": (lambda: nn.ConvTranspose3d(2, 2, 2, stride=2), (2, 2, 2, 2)),
    "batch_norm": (lambda: nn.BatchNorm2d(3), (3, 4, 4)),
    "instance_norm_running": (
        lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (3, 4, 4)),
    "avg_pool": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 6, 5)),
    "avg_pool_divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), (2, 6, 6)),
    "avg_pool3d": (lambda: nn.AvgPool3d(2), (2, 4, 4, 4)),
    "adaptive_avg_pool": (lambda: nn.AdaptiveAvgPool2d((3, None)), (2, 7, 4)),
    "adaptive_avg_pool1d": (lambda: nn.AdaptiveAvgPool1d(3), (2, 7)),
    "max_pool": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 6, 6)),
    "max_pool_dilated": (lambda: nn.MaxPool2d(2, 1, dilation=2), (2, 6, 6)),
    "max_pool1d": (lambda: nn.MaxPool1d(2), (2, 6)),
    "max_pool3d": (lambda: nn.MaxPool3d(2), (2, 4, 4, 4)),
    "adaptive_max_pool": (lambda: nn.AdaptiveMaxPool2d(2), (2, 5, 5)),
    "fractional_max_pool": (lambda: nn.FractionalMaxPool2d(2, output_ratio=0.6), (2, 6, 6)),
    "fractional_max_pool3d": (lambda: nn.FractionalMaxPool3d(2, output_size=2), (2, 4, 4, 4)),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), (8, 3, 3)),
    "pixel_unshuffle": (lambda: nn.PixelUnshuffle(2), (2, 4, 4)),
    "channel_shuffle": (lambda: nn.ChannelShuffle(2), (4, 3, 3)),
    "nearest": (lambda: nn.Upsample(scale_factor=2, mode="nearest"), (2, 3, 3)),
    "bilinear": (lambda: nn.Upsample(size=(5, 4), mode="bilinear"), (2, 3, 3)),
    "bilinear_aligned": (
        lambda: nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=True), (2, 3, 3)),
    "bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), (2, 4, 4)),
    "linear_tokens": (lambda: nn.Linear(5, 4), (3, 5)),
    "threshold": (lambda: nn.Threshold(0.1, 0.4), (6,)),
    "rrelu": (lambda: nn.RReLU(), (6,)),
    "relu6": (lambda: nn.ReLU6(), (6,)),
    "hardsigmoid": (lambda: nn.Hardsigmoid(), (6,)),
    "softshrink": (lambda: nn.Softshrink(), (6,)),
    "unfold": (lambda: nn.Unfold(2, padding=1), (2, 4, 4)),
    "zero_pad": (lambda: nn.ZeroPad2d((1, 0, 2, 1)), (2, 3, 3)),
    "constant_pad": (lambda: nn.ConstantPad1d(2, 1.5), (2, 3)),
}  # fmt: skip

SMOOTH: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lp_pool": (lambda: nn.LPPool2d(2, 2), (2, 4, 4)),
    "layer_norm": (lambda: nn.LayerNorm([4, 5]), (4, 5)),
    "group_norm": (lambda: nn.GroupNorm(2, 4), (4, 3, 3)),
    "instance_norm": (lambda: nn.InstanceNorm2d(3, affine=True), (3, 4, 4)),
    "local_response_norm": (lambda: nn.LocalResponseNorm(3), (5, 3, 3)),
    "rms_norm": (lambda: nn.RMSNorm(5), (3, 5)),
    "softmax": (lambda: nn.Softmax(1), (6,)),
    "log_softmax": (lambda: nn.LogSoftmax(1), (6,)),
    "gelu_tanh": (lambda: nn.GELU("tanh"), (6,)),
    "mish": (lambda: nn.Mish(), (6,)),
    "selu": (lambda: nn.SELU(), (6,)),
    "glu_by_hand": (lambda: Gated(), (6,)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (3, 4)),
    "transformer_norm_first": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, norm_first=True, batch_first=True), (3, 4)),
    "attention": (lambda: Attend(), (3, 4)),
    "attention_sequence_first": (lambda: Attend(batch_first=False), (3, 4)),
    "attention_extras": (lambda: Attend(add_bias_kv=True, add_zero_attn=True), (3, 4)),
    "attention_own_widths": (lambda: Attend(kdim=4, vdim=4), (3, 4)),
    "causal": (lambda: Causal(), (3, 4)),
    "bilinear_layer": (lambda: Bilinear(), (5,)),
}  # fmt: skip


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * b.sigmoid()


class Attend(nn.Module):
    def __init__(self, batch_first: bool = True, **options: int | bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first, **options)
        self.position = nn.Parameter(torch.randn(3, 4))
        self.flip = not batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position
        x = x.transpose(0, 1) if self.flip else x
        out = self.attention(x, x * 2, x - 1)[0]
        return out.transpose(0, 1) if self.flip else out


class Causal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x * 0.5, x + 1, is_causal=True)


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(5, 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x.flip(1))


class Around(nn.Module):
    """The layer between two affine ones, so that bias comes from above and goes below."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = layer
        self.before = nn.Parameter(torch.randn(shape))
        width = layer.eval()(torch.randn(1, *shape)).numel()
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x * 1.5 + self.before).flatten(1))


def make(maker: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = seeded(Around(maker(), shape))
    return net, torch.randn(2, *shape, dtype=torch.float64)


def check(net: nn.Module, x: Tensor, verdict: str) -> None:
    state = torch.get_rng_state()
    leaf = x.clone().requires_grad_()
    output = net(leaf)[:, 1]
    torch.set_rng_state(state)
    (grad,) = torch.autograd.grad(output.sum(), leaf)
    form = bm.local_affine(net, x, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert form.certificate.verdict == verdict
    assert float(form.certificate.residual.max()) < 1e-10
    torch.testing.assert_close(form.output, output.detach())
    torch.testing.assert_close(form.weight, grad)
    for rule in bm.RULES:
        assert float(bm.BiasBackprop(net, rule).explain(x, 1).residual.max()) < 1e-10


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", EXACT)
def test_exact_operation(name: str) -> None:
    check(*make(*EXACT[name]), "exact")


@pytest.mark.parametrize("name", SMOOTH)
def test_first_order_operation(name: str) -> None:
    check(*make(*SMOOTH[name]), "first-order")


def test_hardswish_is_exact_where_it_is_linear() -> None:
    assert bm.local_affine(F.hardswish, torch.tensor([[4.0, -5]]), 0).certificate.verdict == "exact"
    form = bm.local_affine(F.hardswish, torch.tensor([[1.0, -5]]), 0)
    assert form.certificate.verdict == "first-order"


def test_frozen_attention_sends_the_bias_through_the_values() -> None:
    net, x = make(*SMOOTH["attention"])
    frozen = bm.local_affine(net, x, 1, freeze_attention=True)
    assert not torch.allclose(frozen.weight, bm.local_affine(net, x, 1).weight)
    assert any("detach" in op for op in frozen.certificate.first_order_ops)
    assert bm.BiasBackprop(net, "uniform", freeze_attention=True).explain(x, 1).complete


def test_embeddings_are_biases() -> None:
    """A positional embedding is looked up by constants, so all of it stands in the ledger."""
    table, head = nn.Embedding(3, 4), nn.Linear(12, 2)

    def net(x: Tensor) -> Tensor:
        return head((x + table(torch.arange(3))).flatten(1))

    form = bm.local_affine(net, torch.randn(2, 3, 4), 0)
    share = form.ledger.rows[0].share
    wanted = (head.weight[0].view(3, 4) * table.weight).sum().detach()
    torch.testing.assert_close(share, wanted.expand(2))


def test_tied_weights_and_channels_last() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3)))
    net[2].weight = net[0].weight
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    plain = bm.BiasBackprop(lambda t: net(t).mean((2, 3)), "softmax_abs").attribute(x, 0)
    wide = x.contiguous(memory_format=torch.channels_last)
    last = bm.BiasBackprop(
        lambda t: net.to(memory_format=torch.channels_last)(t).mean((2, 3)), "softmax_abs"
    ).attribute(wide, 0)
    torch.testing.assert_close(plain, last)


def cube(x: Tensor) -> Tensor:
    """A user's own operation."""
    return x**3


own_cube = torch.overrides.wrap_torch_function(lambda x: (x,))(cube)


def test_an_operation_of_ones_own() -> None:
    """The ten lines of the documentation."""

    def handler(call: bm.Call) -> bm.Form:
        x = call.inputs[0].detach()
        return smooth(call, slope=lambda: 3 * x**2)

    bm.register_op(own_cube, handler)
    net = nn.Linear(3, 2).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    form = bm.local_affine(lambda t: net(own_cube(t)), x, 0)
    assert [row.op for row in form.ledger] == ["cube", "linear"]
    assert form.certificate.passed
    assert form.certificate.verdict == "first-order"
    assert bm.BiasBackprop(lambda t: net(own_cube(t)), "uniform").explain(x, 0).complete


def test_nothing_is_kept_after_the_call() -> None:
    net, x = make(*SMOOTH["transformer"])

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    bm.BiasBackprop(net).attribute(x, 0)
    before = alive()
    bm.BiasBackprop(net).attribute(x, 0)
    assert alive() == before


def test_a_recording_does_not_outlive_its_graph() -> None:
    """The steps keep values, not autograd's buffers."""
    net, x = make(*EXACT["conv1d"])
    recording = record(net, (x,), 0, Options())
    assert all(not w.requires_grad for w in recording.weights)
