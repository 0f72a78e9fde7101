"""A GPU's kernels for the softmax rules, run on a processor by Triton's interpreter."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import biasmatters as bm
from biasmatters import kernels
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.mixing import Mixing
from biasmatters.kernels import availability
from biasmatters.rules import RULES, SoftmaxAbs, SoftmaxNegAbs, SoftmaxSigned, on_gpu
from biasmatters.rules.direct import split_directly
from tests.devices.networks import network, pictures

pytest.importorskip("triton")
if torch.cuda.is_available():
    pytest.skip("where there is a GPU tests/devices asks it", allow_module_level=True)

Softmax = type[SoftmaxNegAbs] | type[SoftmaxAbs] | type[SoftmaxSigned]
SOFTMAX: dict[on_gpu.By, Softmax] = {
    "weak": SoftmaxNegAbs, "strong": SoftmaxAbs, "signed": SoftmaxSigned
}  # fmt: skip

# Numbers outside of the tiles are computed and thrown away.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The kernels, for a processor's tensors; see ``tests/conftest.py``."""
    monkeypatch.setattr(kernels, "fit_on_gpu", lambda *t: all(x.dtype == torch.float32 for x in t))
    return kernels.gpu_exponentials


def drawn(seed: int) -> tuple[Mixing, Mixing, Tensor, Tensor, Tensor | None]:
    """A convolution, the same in float64, its input, bias and slopes, with zeros in all of them."""
    choose, make = random.Random(seed), torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=make)

    groups = choose.choice([1, 1, 2, 4])
    channels, units = groups * choose.choice([1, 2, 3]), groups * choose.choice([1, 2, 5])
    kernel = choose.choice([1, 2, 3]), choose.choice([1, 3])
    stride = choose.choice([1, 2]), choose.choice([1, 2, 3])
    padding = choose.choice([0, 1]), choose.choice([0, 1])
    dilation = choose.choice([1, 2]), 1
    x = normal(choose.choice([1, 3]), channels, 6, 7)
    x *= normal(*x.shape) > -0.3
    weight = normal(units, channels // groups, *kernel)
    weight *= normal(*weight.shape) > -1
    if seed % 4 == 3:  # over one axis
        x, weight = x[:, :, 0], weight[:, :, 0]
        stride, padding, dilation = stride[1:], padding[1:], dilation[1:]  # type: ignore[assignment]
    convolve = F.conv1d if seed % 4 == 3 else F.conv2d
    out = convolve(x, weight, None, stride, padding, dilation, groups)
    tau = normal(*out.shape) * (normal(*out.shape) > -0.5)
    slopes = normal(*out.shape) * (normal(*out.shape) > 0)
    if seed % 3 == 2:
        slopes = normal(1, units, *(1,) * (out.ndim - 2)).expand_as(out)
    pads = tuple((n, n) for n in padding)
    maps = [ConvMap(w, stride, pads, dilation, groups) for w in (weight, weight.double())]
    return maps[0], maps[1], x, tau, None if seed % 3 == 0 else slopes


def check(
    by: on_gpu.By, temperature: float, drawn: tuple[Mixing, Mixing, Tensor, Tensor, Tensor | None]
) -> None:
    single, double, x, tau, slopes = drawn
    found = on_gpu.split_on_gpu(by, temperature, single, x, tau, slopes)
    assert found is not None
    beta, live = found
    some = double.power(0, x.double()).forward((x != 0).double()) > 0.5
    some = some if slopes is None else some & (slopes != 0)
    assert torch.equal(live > 0, some)
    scale = None if slopes is None else slopes.double()
    alpha = SOFTMAX[by](temperature).alpha
    wanted = split_directly(alpha, double, x.double(), (tau * some).double(), scale)
    torch.testing.assert_close(beta.double(), wanted, rtol=1e-4, atol=2e-6 / min(temperature, 1))
    left = beta.double().sum() - (tau * some).double().sum()
    assert float(left.abs()) <= 1e-5 * float(tau.abs().sum())


@pytest.mark.parametrize("temperature", [0.02, 1.0, 50.0])
@pytest.mark.parametrize("by", SOFTMAX)
@pytest.mark.parametrize("seed", range(8))
def test_convolutions(
    interpreted: ModuleType, seed: int, by: on_gpu.By, temperature: float
) -> None:
    check(by, temperature, drawn(seed))


@pytest.mark.parametrize("by", SOFTMAX)
def test_dense_layers(interpreted: ModuleType, by: on_gpu.By) -> None:
    make = torch.Generator().manual_seed(3)
    weight = torch.randn(5, 40, generator=make)
    x, tau = torch.randn(2, 3, 40, generator=make).relu(), torch.randn(2, 3, 5, generator=make)
    check(by, 0.3, (DenseMap(weight), DenseMap(weight.double()), x, tau, None))


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
@pytest.mark.parametrize("by", SOFTMAX)
def test_no_exponent_leaves_the_number_format(
    interpreted: ModuleType, by: on_gpu.By, temperature: float
) -> None:
    """The hard minimum or maximum, and the mean; in whole numbers, so that ties are ties."""
    single, double, x, tau, slopes = drawn(1)
    assert isinstance(single, ConvMap)
    assert isinstance(double, ConvMap)
    weight = single.weight.round()
    maps = [
        ConvMap(w, m.stride, m.padding, m.dilation, m.groups)
        for w, m in ((weight, single), (weight.double(), double))
    ]
    check(by, temperature, (maps[0], maps[1], (3 * x).round(), tau, slopes))


def test_samples_that_one_launch_cannot_address(
    interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    single, _, x, tau, slopes = next(d for d in map(drawn, range(1, 20)) if len(d[2]) == 3)
    whole = on_gpu.split_on_gpu("weak", 1.0, single, x, tau, slopes)
    monkeypatch.setattr(interpreted, "MOST", max(x[0].numel(), tau[0].numel()) + 1)
    parts = on_gpu.split_on_gpu("weak", 1.0, single, x, tau, slopes)
    assert whole is not None
    assert parts is not None
    assert all(map(torch.equal, whole, parts))


def test_weights_of_which_no_copies_are_made(
    interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreted, "LARGE", 0)
    check("weak", 1.0, drawn(2))


@pytest.mark.parametrize("rule", [r for r in RULES if r.startswith("softmax")])
@pytest.mark.parametrize("name", ["residual", "mixed"])
def test_whole_networks(
    interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, rule: str
) -> None:
    net, x = network(name), pictures(1, 8 if name == "residual" else 16)
    calls: list[int] = []
    with kernels.without_kernels():
        wanted = bm.BiasBackprop(net, rule).attribute(x, 0)
        split = interpreted.split
        monkeypatch.setattr(interpreted, "split", lambda *given: calls.append(1) or split(*given))
        found = bm.BiasBackprop(net.float(), rule).explain(x.float(), 0)
    assert calls
    assert isinstance(found.map, Tensor)
    assert found.complete
    assert float((found.map.double() - wanted).norm() / wanted.norm()) < 2e-4


@pytest.mark.parametrize(
    ("name", "least"), [("MOST", 10), ("PROGRAMS", 0)], ids=["numbers", "programs"]
)
def test_what_one_launch_cannot_take(
    interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, least: int
) -> None:
    single, _, x, tau, slopes = drawn(1)
    monkeypatch.setattr(interpreted, name, least)
    assert on_gpu.split_on_gpu("weak", 1.0, single, x, tau, slopes) is None


def test_large_strides_and_many_units_are_too_many_programs(interpreted: ModuleType) -> None:
    def takes(groups: int, units: int, channels: int, kernel: int) -> bool:
        weight = torch.empty(1).expand(groups, units, channels, kernel, kernel)
        how = interpreted.Geometry(weight, (kernel, kernel), (0, 0), (1, 1))
        return bool(interpreted.takes(how, torch.empty(1, 1), torch.empty(1, 1)))

    assert takes(1, 512, 512, 16)
    assert not takes(512, 1, 1, 16)
    assert not takes(1, 2_000_000, 16, 1)


def test_the_kernels_are_tried_out(interpreted: ModuleType) -> None:
    interpreted.try_out(torch.device("cpu"))


def test_where_they_do_not_run_it_is_said_once(
    interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler")

    runs = availability._runs_triton.__wrapped__
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert runs(torch.device("cpu"))
    monkeypatch.setattr(interpreted, "try_out", broken)
    with pytest.warns(UserWarning, match="find C compiler.*apt-get install gcc"):
        assert not runs(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    assert not runs(torch.device("cpu"))


def test_what_the_kernels_leave_to_others(interpreted: ModuleType) -> None:
    single, double, x, tau, slopes = drawn(1)
    assert on_gpu.split_on_gpu("weak", 1.0, double, x.double(), tau.double(), None) is None
    assert on_gpu.split_on_gpu("weak", 1e-30, single, x, tau, slopes) is None
    assert on_gpu.split_on_gpu("weak", 1e30, single, x, tau, slopes) is None
