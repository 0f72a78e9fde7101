"""Mixing operations with what follows them one to one, walked together.

    z = M x + b,  u = slope z + shift,  y = bend(u)

Per channel all constants below the bend are one, and the gradient G behind it gives every other:
where the bend passes on, G at each of them times the slopes between. So one pass over y, G and the
bias that arrived does what would take three for each operation (`biasmatters.kernels.bends`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.bent import Bent, bounds_of
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.form import Form
from biasmatters.affine.law import Bend, PerChannel
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.node import Node
from biasmatters.affine.registry import Handler, find_handler, is_taught
from biasmatters.affine.sealed import sealed
from biasmatters.affine.step import Step

Made = tuple[Node, Form]
# Where a tensor begins in memory, and how many numbers it has.
Place = tuple[int, int]


def place(x: Tensor) -> Place:
    """Where a tensor lies in memory."""
    return x.data_ptr(), x.numel()


@sealed
class Chain:
    """What follows a mixing step, up to the bend.

    Attributes:
        top: The last of it; nothing else looks at what lies below.
        constant: Labels of the steps with a constant per channel.
        shifts: ``(len(constant), C)`` what their constants come to below the bend.
        shift: ``(C,)`` what they come to together.
        gain: ``(C,)`` the slope between the mixing step and the bend, None for 1.
        bend: At the top, None where there is none.
        found: `sums`, where the backward pass has found them.
    """

    top: Step
    constant: tuple[str, ...]
    shifts: Tensor
    shift: Tensor
    gain: Tensor | None
    bend: Bend | None
    found: Tensor | None = None

    @property
    def sums(self) -> Tensor | None:
        """What `biasmatters.kernels.bends.weigh` finds, None without a gradient."""
        return self._sums if self.found is None else self.found

    @cached_property
    def _sums(self) -> Tensor | None:
        grad, y = self.top.grad, self.top.output
        if grad is None:
            return None
        return kernels.bends.weigh(grad.contiguous(), y, bounds_of(self.bend, y))

    @property
    def finite(self) -> bool:
        """Whether the output is known to be finite, without looking at it again."""
        sums = vars(self).get("_sums") if self.found is None else self.found
        return sums is not None and kernels.bends.saw_finite(sums)

    def weigh(self) -> list[tuple[str, Tensor]]:
        """For each step that puts in bias its label, and its share and its size, ``(2, N)``."""
        if self.sums is None:
            return []
        holds = self.bend is not None and self.bend.holds
        labels = (*self.constant, self.top.label) if holds else self.constant
        found = kernels.constants.weigh(self.sums, self.shifts, holds=holds)
        return list(zip(labels, found.unbind(), strict=True))


@sealed
class Link:
    """A mixing step with its chain, without what lies between its input and the chain's output.

    Attributes:
        node: What ran; as its output it shows that of the chain, which has the same shape.
        handler: Which says what the operation does.
        maker: Of the operation's form.
        label: Its name.
        y: The chain's output.
        at: Where it lies.
        grad: The gradient there, None where no constant meets it.
        shift: ``(C,)`` all constants below the bend.
        gain: As in `Chain`.
        bend: Likewise.
        finite: Whether y is known to be finite.
    """

    node: Node
    handler: Handler
    maker: Callable[[], Mixing] | None
    label: str
    y: Tensor
    at: Place
    grad: Tensor | None
    shift: Tensor
    gain: Tensor | None
    bend: Bend | None
    finite: bool

    @property
    def form(self) -> Form:
        """The mixing operation's own, made anew: few links are asked for it."""
        return self.handler(self.node.call)

    def bent(self, beta: Tensor | None, floor: float) -> Bent | None:
        """The bias of the mixing step's units, None if there is none.

        Args:
            beta: What arrived above the chain, None for nothing.
            floor: As in `Bent`.
        """
        if beta is None and self.grad is None:
            return None
        beta = None if beta is None else beta.contiguous()
        grad = None if self.grad is None else self.grad.contiguous()
        return Bent(beta, grad, self.y.detach(), self.shift, self.bend, floor)

    @property
    def passes(self) -> bool:
        """Whether no slope is 0: then contributions that are shared out are as many as without."""
        return self.gain is None or kernels.constants.no_zero(self.gain)

    def scale(self) -> Tensor | None:
        """The slope that is folded into the mixing step, as `Rule.split` takes it."""
        if self.gain is None:
            return None
        shape = self.y.shape
        return self.gain.reshape(-1, *(1,) * (len(shape) - 2)).expand(shape)


def linked(step: Step) -> Step | Link | None:
    """What the walk needs of a step: None of one that another's chain has."""
    if step.within:
        return None
    if step.chain is None:
        return step
    chain, top = step.chain, step.chain.top
    call = step.node.call.with_output(top.output)
    handler = find_handler(call.function, call.op)
    if handler is None:
        raise UnsupportedOperationError(call.name, call.op, "the engine lost it")
    return Link(
        Node(call, step.node.axis),
        handler,
        step.form.maker,
        step.label,
        top.output,
        place(top.output),
        top.grad,
        chain.shift,
        chain.gain,
        chain.bend,
        chain.finite,
    )


def find_chains(made: Sequence[Made], samples: int) -> dict[int, list[int]]:
    """For each mixing operation the places of those that are walked with it, in order.

    Args:
        made: All operations that matter, in the order of execution.
        samples: N.
    """
    users: dict[int, list[int]] = {}
    for i, (node, _) in enumerate(made):
        for x in node.call.inputs:
            users.setdefault(id(x), []).append(i)
    found = {}
    for i, (node, form) in enumerate(made):
        begins = form.foldable and isinstance(form.law, PerChannel)
        if begins and _fits(node, samples):
            followers = _followers(i, made, users)
            if followers and not _goes_on(made[followers[-1]], made, users):
                found[i] = followers
    return found


def _followers(first: int, made: Sequence[Made], users: dict[int, list[int]]) -> list[int]:
    """Slopes per channel and one bend at the end, each the only one to look at the one before."""
    found: list[int] = []
    start = last = made[first][0]
    while True:
        following = users.get(id(last.call.output), [])
        if len(following) != 1 or not _lies_alike(made[following[0]][0], start):
            return found
        law = made[following[0]][1].law
        if law is None or made[following[0]][1].slope is None:
            return found
        found.append(following[0])
        if isinstance(law, Bend):
            return found
        last = made[following[0]][0]


def _goes_on(top: Made, made: Sequence[Made], users: dict[int, list[int]]) -> bool:
    """Whether a slope follows that a mixing step is to be folded with as well."""
    following = users.get(id(top[0].call.output), [])
    if len(following) != 1:
        return False
    node, form = made[following[0]]
    return form.slope is not None and node.call.output.shape == top[0].call.output.shape


def _fits(node: Node, samples: int) -> bool:
    """Whether an output is made of planes that kernels can take."""
    output = node.call.output
    return (
        not is_taught(node.call.function)
        and output.ndim > 1
        and output.shape[0] == samples
        and node.axis == 0
        and kernels.fit(output)
    )


def _lies_alike(node: Node, first: Node) -> bool:
    """Whether an output is made of planes that lie as those of the chain's first."""
    output, like = node.call.output, first.call.output
    return (
        output.shape == like.shape
        and output.dtype == like.dtype
        and output.is_contiguous()
        and output.device == like.device
        and node.axis == 0
        and not is_taught(node.call.function)
    )


@sealed
class Composition:
    """What a mixing operation and what follows it come to.

    Attributes:
        followers: Places of what follows, in order.
        constant: Places of those with a constant per channel, from the top down.
        shifts: As in `Chain`.
        shift: Likewise.
        gain: Likewise.
        bend: Likewise.
    """

    followers: list[int]
    constant: list[int]
    shifts: Tensor
    shift: Tensor
    gain: Tensor | None
    bend: Bend | None

    @property
    def biased(self) -> bool:
        """Whether any of them has a constant."""
        return bool(self.constant) or (self.bend is not None and self.bend.holds)


def compose(made: Sequence[Made], first: int, followers: list[int]) -> Composition:
    """The composition of a mixing operation and those that follow it."""
    law = made[followers[-1]][1].law
    bend = law if isinstance(law, Bend) else None
    below = reversed([first, *followers[: -1 if bend else None]])
    laws = [(i, law) for i in below if isinstance(law := made[i][1].law, PerChannel)]
    shifts, shift, gain = kernels.constants.compose(
        [(law.slope, law.shift) for _, law in laws], made[first][0].call.output
    )
    biased = [i for i, law in laws if law.shift is not None]
    return Composition(followers, biased, shifts, shift, gain, bend)


def link(composed: Composition, top: Step, labels: Sequence[str], sums: Tensor | None) -> Chain:
    """The chain of a mixing step and what follows it.

    Args:
        composed: What they come to.
        top: The last of it.
        labels: Of all steps.
        sums: As `Chain` has them, where they are at hand.
    """
    constant = tuple([labels[i] for i in composed.constant])
    return Chain(top, constant, composed.shifts, composed.shift, composed.gain, composed.bend, sums)
