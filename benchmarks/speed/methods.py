"""The methods that are timed, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import biasmatters as bm
from benchmarks.speed import peers
from benchmarks.speed.peers import Work
from benchmarks.speed.subject import Subject
from biasmatters.rules import (
    Proportional,
    Rule,
    SoftmaxAbs,
    SoftmaxNegAbs,
    SoftmaxSigned,
    Uniform,
)

Group = Literal["gradient", "bbp", "peer"]
UNIT = "gradient"


@dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes:
        label: As people read it.
        group: Whose it is.
        prepare: Makes what is called again and again.
        rule: Of BBp, else None.
        gradients: Forward and backward passes that it makes, where that alone says what it costs.
        written_out: Whether it takes one exponential for each connection.
    """

    label: str
    group: Group
    prepare: Callable[[Subject], Work]
    rule: Rule | None = None
    gradients: int = 0
    written_out: bool = False


def _affine(subject: Subject) -> Work:
    return partial(bm.local_affine, subject.model, subject.x, subject.target)


def _bbp(label: str, rule: Rule, *, written_out: bool = False) -> Method:
    def prepare(subject: Subject) -> Work:
        bbp = bm.BiasBackprop(subject.model, rule)
        return partial(bbp.explain, subject.x, subject.target)

    return Method(f"BBp {label}", "bbp", prepare, rule, written_out=written_out)


METHODS: dict[str, Method] = {
    UNIT: Method("forward + backward", "gradient", peers.plain_gradient),
    "local_affine": Method("local_affine", "gradient", _affine),
    "proportional": _bbp("proportional", Proportional()),
    "uniform": _bbp("uniform", Uniform()),
    "softmax_neg_abs": _bbp("softmax_neg_abs, T = 1", SoftmaxNegAbs(1.0)),
    "softmax_neg_abs_cold": _bbp("softmax_neg_abs, T = 0.05", SoftmaxNegAbs(0.05)),
    "softmax_abs": _bbp("softmax_abs, T = 1", SoftmaxAbs(1.0)),
    "softmax_signed": _bbp("softmax_signed, T = 1", SoftmaxSigned(1.0)),
    "softmax_neg_abs_direct": _bbp(
        "softmax_neg_abs, written out", SoftmaxNegAbs(1.0, tolerance=0), written_out=True
    ),
    "zennit_epsilonplus": Method("Zennit EpsilonPlus", "peer", peers.epsilon_plus),
    "captum_deeplift": Method("Captum DeepLift", "peer", peers.deeplift),
    "smoothgrad": Method("SmoothGrad-50", "peer", peers.smoothgrad, gradients=peers.STEPS),
    "integrated_gradients": Method(
        "Captum IG-50", "peer", peers.integrated_gradients, gradients=peers.STEPS
    ),
}
