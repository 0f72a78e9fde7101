"""What this library does on a model of the zoo, checked by sums made here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import biasmatters as bm
from benchmarks.zoo.clock import Result, forward_passes
from benchmarks.zoo.subject import Subject

RULES = ("proportional", "uniform", "softmax_neg_abs")
BOUND = 1e-9

Figures = dict[str, str]


def row_sums(values: Tensor) -> Tensor:
    """Sum over all axes but the first."""
    return values.flatten(1).sum(1)


def tolerance(bias: Tensor, form: bm.LocalAffine) -> Tensor:
    """``1e-9 (1 + |b| + sum |shares|)``, ``(N,)``."""
    bound: Tensor = BOUND * (1 + bias.abs() + form.ledger.absolute())
    return bound


def true_bias(subject: Subject) -> Tensor:
    """``f - w . x`` from nothing but the model and autograd, ``(N,)``."""
    x = subject.x.clone().requires_grad_()
    f = subject.model(x).gather(1, subject.target.unsqueeze(1)).squeeze(1)
    (w,) = torch.autograd.grad(f.sum(), x)
    bias: Tensor = (f - row_sums(w * x)).detach()
    return bias


def affine_figures(subject: Subject, *, timed: bool = True) -> Figures:
    """Verdict and residual of the certificate."""

    def work() -> bm.LocalAffine:
        return bm.local_affine(subject.model, subject.x, subject.target)

    form, times = _run(subject, work, timed)
    bias = true_bias(subject)
    residual, bound = (form.ledger.total() - bias).abs(), tolerance(bias, form)
    ops = {op.rpartition(" (")[2].rstrip(")") for op in form.certificate.first_order_ops}
    return {
        "verdict": form.certificate.verdict,
        "ops": " ".join(sorted(ops)),
        "residual": _number(residual.max()),
        "tolerance": _number(bound.min()),
        "passed": str(bool((residual <= bound).all()) and form.certificate.passed),
        "bias": _number(bias.abs().max()),
        "output": _number(form.output.abs().max()),
        "margin": _number(form.certificate.margin.min()),
        **times,
    }


def rule_figures(subject: Subject, rule: str, *, timed: bool = True) -> Figures:
    """How far a rule's map is from b."""
    bbp = bm.BiasBackprop(subject.model, rule=rule)
    found, times = _run(subject, lambda: bbp.explain(subject.x, subject.target), timed)
    if not isinstance(found.map, Tensor) or found.certificate is None:
        raise TypeError("one input has one map, and a certificate")
    bias = true_bias(subject)
    residual = (row_sums(found.map) - bias).abs()
    bound = tolerance(bias, bm.local_affine(subject.model, subject.x, subject.target))
    return {
        "residual": _number(residual.max()),
        "passed": str(bool((residual <= bound).all())),
        "fallback": _number(found.certificate.fallback_share.max()),
        **times,
    }


def _run(subject: Subject, work: Callable[[], Result], timed: bool) -> tuple[Result, Figures]:
    if not timed:
        return work(), {}
    found, forwards, unit = forward_passes(subject, work)
    return found, {"forwards": f"{forwards:.3g}", "forward_seconds": f"{unit:.3g}"}


def _number(value: Tensor) -> str:
    return f"{float(value):.2e}"
