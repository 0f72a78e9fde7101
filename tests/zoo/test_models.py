"""Other people's models: the certificate passes, and bias maps sum to b."""

from __future__ import annotations

import pytest

from benchmarks.zoo.catalogue import catalogue
from benchmarks.zoo.ours import affine_figures, rule_figures
from benchmarks.zoo.subject import Subject, make_subject

FAST = ("squeezenet1_1", "resnet18", "mobilenet_v2", "googlenet")
FAST_NAMES = tuple(f"torchvision/{name}" for name in FAST)
FEW_CONNECTIONS = 2e8


def check(subject: Subject, rules: tuple[str, ...]) -> None:
    affine = affine_figures(subject, timed=False)
    assert affine["passed"] == "True", affine
    for rule in rules:
        figures = rule_figures(subject, rule, timed=False)
        assert figures["passed"] == "True", (rule, figures)


@pytest.mark.parametrize("name", FAST_NAMES)
def test_small_models_are_exact(name: str) -> None:
    subject = make_subject(name)
    assert affine_figures(subject, timed=False)["verdict"] == "exact"
    check(subject, ("proportional", "uniform"))


def test_the_direct_rule_on_a_small_model() -> None:
    check(make_subject("torchvision/squeezenet1_1"), ("softmax_neg_abs",))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in catalogue() if n not in FAST_NAMES])
def test_every_model(name: str) -> None:
    subject = make_subject(name)
    few = subject.connections < FEW_CONNECTIONS
    check(subject, ("proportional", "uniform", *(("softmax_neg_abs",) if few else ())))
