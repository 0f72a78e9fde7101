"""A method's first call, on its own: time, memory, and the forms that a rule took."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import nn

import biasmatters as bm
from benchmarks.speed.device import device_of, settle
from benchmarks.speed.floor import Demand, demand
from benchmarks.speed.methods import METHODS, UNIT, Method
from benchmarks.speed.subject import Subject
from biasmatters.rules import Rule
from biasmatters.training.memory import peak_bytes


@dataclass(frozen=True)
class Trial:
    """What one call showed.

    Attributes:
        seconds: Of the call, warm only as far as a gradient of one sample warms up.
        memory: Peak bytes above what was held before; None where they cannot be had.
        demand: What the rule had to do, for BBp's rules.
    """

    seconds: float
    memory: int | None
    demand: Demand | None


def try_out(subject: Subject, method: Method, budget: float, *, memory: bool) -> Trial:
    """Call a method once, and BBp's rules once more for their profile.

    Args:
        subject: In a fork of its own, or on a GPU, where the model is copied first: a method that
            raises may leave it in pieces.
        method: What to call.
        budget: Seconds above which no profile is asked for.
        memory: Whether to measure memory.
    """
    device = device_of(subject.x)
    if device == "cuda":
        subject = replace(subject, model=deepcopy(subject.model))
    METHODS[UNIT].prepare(subject.first())()
    if method.rule is not None:
        load_kernels(method.rule, device)
    work = method.prepare(subject)
    seconds: list[float] = []

    def call() -> None:
        settle(device)
        begin = perf_counter()
        work()
        settle(device)
        seconds.append(perf_counter() - begin)

    peak = None
    if memory:
        peak = peak_bytes(call, device)
    else:
        call()
    if method is METHODS[UNIT]:
        # What others are predicted from should be warm.
        call()
    short = seconds[0] <= budget
    return Trial(min(seconds), peak, _demand(subject, method) if short else None)


def load_kernels(rule: Rule, device: str) -> None:
    """Explain a tiny network, so that the libraries that compile and run kernels are loaded.

    What they hold for themselves stays from then on, and is no part of what a call needs.
    """
    parts = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 1), nn.Flatten()]
    model = nn.Sequential(*parts, nn.Linear(16, 2)).eval().to(device)
    bm.BiasBackprop(model, rule).explain(torch.ones(1, 3, 4, 4, device=device), 0)


def _demand(subject: Subject, method: Method) -> Demand | None:
    if method.rule is None:
        return None
    bbp = bm.BiasBackprop(subject.model, method.rule)
    profile = bbp.explain(subject.x, subject.target, profile=True).profile
    return demand(method.rule.name, profile, subject.connections)
