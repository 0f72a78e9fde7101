"""Buffers of all formats and layouts are put back, though they are copied together."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.state import ModelState

X = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
KEPT = "one", "two", "three"


def ramp(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(1, torch.Size(shape).numel() + 1).reshape(shape).to(dtype)


MAKERS: dict[str, Callable[[], Tensor]] = {
    "float32": lambda: ramp(2, 3),
    "float64": lambda: ramp(4, dtype=torch.float64),
    "float16": lambda: ramp(2, dtype=torch.float16),
    "bfloat16": lambda: ramp(2, dtype=torch.bfloat16),
    "float8": lambda: ramp(3, dtype=torch.float8_e4m3fn),
    "complex": lambda: ramp(2, dtype=torch.complex64),
    "conjugate": lambda: torch.view_as_complex(ramp(2, 2)).conj(),
    "int64": lambda: torch.tensor(7),
    "int64, three": lambda: ramp(3, dtype=torch.int64),
    "uint16": lambda: ramp(3, dtype=torch.uint16),
    "bool": lambda: torch.tensor([True, False, True]),
    "a number": lambda: torch.tensor(1.5),
    "empty": lambda: torch.zeros(0),
    "empty, two axes": lambda: torch.zeros(3, 0),
    "transposed": lambda: ramp(3, 4).T,
    "every other": lambda: ramp(9)[1::2],
    "channels last": lambda: ramp(1, 3, 2, 2).to(memory_format=torch.channels_last),
    "a part": lambda: ramp(8)[2:5],
    "inference": lambda: inferred(ramp(2, 2)),
    "inference, int64": lambda: inferred(torch.tensor(3)),
}


def inferred(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


def plain(tensor: Tensor) -> list[object]:
    found: list[object] = tensor.to_dense().resolve_conj().flatten().tolist()
    return found


class Kept(nn.Module):
    """Buffers that forward changes."""

    def __init__(self, change: Callable[[Tensor], object], *buffers: Tensor) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(3, 2, dtype=torch.float64), change
        for name, buffer in zip(KEPT, buffers, strict=False):
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        for buffer in {id(b): b for b in self.buffers()}.values():
            with torch.inference_mode(buffer.is_inference()):
                self.change(buffer)
        out: Tensor = self.layer(x)
        return out


def explain(net: nn.Module) -> None:
    assert bm.local_affine(net.eval(), X, 0).certificate.passed
    assert bm.BiasBackprop(net, "uniform").explain(X, 0).complete


@pytest.mark.parametrize("name", MAKERS)
def test_formats(name: str) -> None:
    buffer = MAKERS[name]()
    before, layout = plain(buffer), (buffer.shape, buffer.stride(), buffer.dtype)
    net = Kept(Tensor.zero_, buffer)
    explain(net)
    assert net.one is buffer
    assert plain(buffer) == before
    assert (buffer.shape, buffer.stride(), buffer.dtype) == layout


@pytest.mark.parametrize("name", MAKERS)
def test_formats_of_a_state(name: str) -> None:
    """Without a tape, which keeps writes from tensors of inference mode."""
    buffer, state = MAKERS[name](), ModelState()
    before = plain(buffer)
    net = Kept(Tensor.zero_, buffer)
    state.watch(net)
    net(X)
    assert (plain(buffer) != before) == bool(buffer.numel())
    state.restore()
    assert plain(buffer) == before


def test_all_formats_at_once() -> None:
    made = {name: MAKERS[name]() for name in MAKERS}
    before = {name: plain(buffer) for name, buffer in made.items()}
    parts = [Kept(Tensor.zero_, buffer) for buffer in made.values()]

    def model(x: Tensor) -> Tensor:
        out: Tensor = sum(part(x) for part in parts)
        return out

    net = nn.Module()
    net.parts, net.forward = nn.ModuleList(parts), model
    explain(net)
    assert {name: plain(buffer) for name, buffer in made.items()} == before


def test_one_format_several_shapes() -> None:
    """They are copied together, and each gets its own values back."""
    buffers = ramp(2, 3), ramp(4) * 10, torch.tensor(-1.0)
    net = Kept(Tensor.zero_, *buffers)
    explain(net)
    assert buffers[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert buffers[1].tolist() == [10, 20, 30, 40]
    assert buffers[2].tolist() == -1


def test_only_what_was_changed_is_written_to() -> None:
    touched, left = ramp(3), ramp(3)
    net = Kept(lambda b: b.mul_(2) if b is touched else b, touched, left)
    version = left._version
    explain(net)
    assert touched.tolist() == left.tolist() == [1, 2, 3]
    assert left._version == version


@pytest.mark.parametrize("size", [(0,), (2,), (5, 2), ()])
def test_resized_in_forward(size: tuple[int, ...]) -> None:
    buffer = ramp(2, 3)
    net = Kept(lambda b: b.resize_(size).fill_(9), buffer, torch.tensor(4))
    explain(net)
    assert buffer.shape == (2, 3)
    assert buffer.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert int(net.two) == 4


def test_shared_by_two_modules() -> None:
    shared = ramp(3)
    one, other = Kept(lambda b: b.add_(1), shared), Kept(lambda b: b.mul_(2), shared, ramp(2))
    net = nn.Sequential(one, nn.Linear(2, 3, dtype=torch.float64), other)
    explain(net)
    assert one.one is other.one is shared
    assert shared.tolist() == [1, 2, 3]
    assert other.two.tolist() == [1, 2]


def test_two_that_overlap() -> None:
    base = ramp(6)
    net = Kept(lambda b: b.mul_(3), base[:4], base[2:])
    explain(net)
    assert base.tolist() == [1, 2, 3, 4, 5, 6]


def test_an_expanded_one_that_is_bound_anew() -> None:
    buffer = torch.ones(1).expand(4)
    net = Kept(lambda _: setattr(net, "one", net.one + 1), buffer)
    explain(net)
    assert net.one is buffer
    assert net.one.stride() == (0,)
    assert net.one.tolist() == [1] * 4


def test_a_state_gives_back_more_than_once() -> None:
    buffer, state = ramp(3), ModelState()
    state.watch(Kept(Tensor.zero_, buffer, ramp(2)))
    for value in (5, 6):
        buffer.fill_(value)
        assert [id(b) for b in state.changed()] == [id(buffer)]
        state.restore()
        assert buffer.tolist() == [1, 2, 3]


def test_what_a_second_module_shares_is_remembered_as_it_was_first() -> None:
    shared, state = ramp(3), ModelState()
    state.watch(Kept(Tensor.zero_, shared))
    shared.zero_()
    state.watch(Kept(Tensor.zero_, shared, ramp(2)))
    state.restore()
    assert shared.tolist() == [1, 2, 3]


SPARSE = {"coordinates": Tensor.to_sparse, "rows": Tensor.to_sparse_csr}


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_sparse_one_is_put_back(kind: str) -> None:
    buffer, dense = SPARSE[kind](torch.eye(3)), ramp(3)
    net = Kept(lambda t: t.mul_(2), buffer, dense)
    explain(net)
    assert torch.equal(buffer.to_dense(), torch.eye(3))
    assert dense.tolist() == [1, 2, 3]


def test_a_nested_one_may_stand_by() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    explain(Kept(lambda _: None, nested))
    assert [part.tolist() for part in nested.unbind()] == [[1] * 2, [1] * 3]


def test_an_expanded_one_whose_base_is_changed() -> None:
    base = torch.full((1, 3), 2.0)
    wide, after = base.expand(4, 3), ramp(2)
    net = Kept(lambda t: base.add_(1) if t is after else after.zero_(), wide, after)
    explain(net)
    assert base.tolist() == [[2] * 3]
    assert after.tolist() == [1, 2]
