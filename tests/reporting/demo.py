"""A report's content made of invented numbers, labelled as such wherever it is shown."""

# ruff: noqa: RUF001

from __future__ import annotations

import numpy as np
from skimage.draw import disk, polygon

from biasmatters.reporting import ContactSheet, ReportContent
from biasmatters.types import Result

METHODS = (
    ("gradient", ""),
    ("input_x_gradient", ""),
    ("integrated_gradients", ""),
    ("bias_backprop", "softmax_neg_abs"),
    ("bias_backprop", "softmax_abs"),
    ("bias_backprop", "softmax_signed"),
    ("bias_backprop", "uniform"),
    ("bias_backprop", "proportional"),
    ("input_x_gradient_plus_bias", "softmax_neg_abs"),
)
NORMS = ("unit", "standard", "symmetric")
TABLE = {
    ("fashion_mnist", "unit"): (0.901, 0.914, 0.728, 0.827),
    ("fashion_mnist", "standard"): (0.909, 0.918, 0.882, 0.077),
    ("fashion_mnist", "symmetric"): (0.906, 0.917, 0.741, 0.266),
    ("mnist", "unit"): (0.984, 0.989, 0.912, 0.731),
}


def row(
    metric: str,
    value: float,
    *,
    data: str = "fashion_mnist",
    norm: str = "unit",
    bias: bool = True,
    method: tuple[str, str] = ("", ""),
    half: float | None = None,
    at: float | None = None,
    n: int = 1000,
    seed: int = 0,
) -> Result:
    """One invented row; ``half`` is half the width of its interval."""
    low, high = (None, None) if half is None else (value - half, value + half)
    return Result(
        "synthetic_demo", data, norm, "cnn", bias, method[0], method[1], metric, seed, value, low,
        high, n, at, "demo-000000000000",
    )  # fmt: skip


def accuracies() -> list[Result]:
    rows = []
    for (data, norm), (without, whole, weight, bias) in TABLE.items():
        options = {"data": data, "norm": norm, "n": 10_000, "half": 0.006}
        rows += [
            row("accuracy_all", without, bias=False, **options),  # type: ignore[arg-type]
            row("accuracy_all", whole, **options),  # type: ignore[arg-type]
            row("accuracy_weight", weight, **options),  # type: ignore[arg-type]
            row("accuracy_bias", bias, **options),  # type: ignore[arg-type]
        ]
    return rows


def curves() -> list[Result]:
    rows, share = [], np.linspace(0, 1, 29)
    for place, norm in enumerate(NORMS):
        for k, method in enumerate(METHODS):
            speed = 14 - 1.15 * ((k + place) % len(METHODS))
            for metric, score in (
                ("deletion", 0.1 + 0.86 * np.exp(-speed * share)),
                ("insertion", 0.96 - 0.7 * np.exp(-speed * share)),
            ):
                half = 0.05 * (1 - np.abs(2 * share - 1)) + 0.008
                rows += [
                    row(metric, float(s), norm=norm, method=method, half=float(h), at=float(t))
                    for s, h, t in zip(score, half, share, strict=True)
                ]
                area = float(np.trapezoid(score, share))
                rows.append(row(f"{metric}_auc", area, norm=norm, method=method, half=0.012))
    return rows


def costs() -> list[Result]:
    rows = []
    for k, method in enumerate(METHODS):
        rows.append(row("forward_passes", 2.1 + 0.6 * k, method=method))
        rows.append(row("seconds_per_image", 2.4e-4 * (k + 1), method=method))
        if method[1]:
            rows.append(row("completeness_residual", 1.7e-6 * (k + 1), method=method))
            rows.append(row("fallback_share", 0.0123 * k, method=method))
            rows.append(row("row_entropy", 0.4 * k, method=method))
            for depth, layer in enumerate(("conv1", "conv2", "dense1", "dense2")):
                entropy = 0.3 * k + depth
                rows.append(row(f"row_entropy/{layer}", entropy, method=method))
    return rows


def sheet(n: int = 6, size: int = 28) -> ContactSheet:
    rng = np.random.default_rng(0)
    images = np.zeros((n, size, size))
    for i in range(n):
        if i % 2:
            images[i][disk((14, 13 + i % 3), 9, shape=(size, size))] = 0.8  # type: ignore[no-untyped-call]
        else:
            images[i][polygon([4, 24, 24], [14, 4, 24 - i], (size, size))] = 0.7  # type: ignore[no-untyped-call]
        images[i] += 0.08 * rng.random((size, size)) * (images[i] > 0)
    maps = {}
    for k, name in enumerate(
        (
            "Gradient",
            "Input × gradient",
            "Integrated gradients",
            "BBp, softmax −|e|",
            "BBp, softmax +|e|",
            "BBp, softmax e·sign β",
            "BBp, uniform",
            "BBp, proportional |e|",
            "Input × gradient + BBp, softmax −|e|",
        )
    ):
        noise = rng.standard_normal((n, size, size)) * 10.0 ** -(k % 4)
        maps[name] = noise * (images > 0) if k else noise
    maps["BBp, uniform"][0] = 0
    labels = [("triangle", "disk")[i % 2] for i in range(n)]
    note = "Synthetic shapes and random maps: a demonstration of the page, not a result."
    return ContactSheet("Synthetic demonstration, inputs in [0, 1]", images, maps, labels, note)


def content() -> ReportContent:
    return ReportContent(
        title="Bias also matters: reproduction (synthetic demonstration)",
        subtitle="Invented numbers that show the page; nothing here was measured. Scale: small.",
        results=[*accuracies(), *curves(), *costs()],
        sheets=[sheet()],
        environment={"python": "3.11.7", "torch": "2.15.0", "training seeds": "0", "device": "cpu"},
        timings=[
            ("train, Fashion-MNIST, unit, with bias", 71.3, True),
            ("attribute, Fashion-MNIST, unit", 12.8, False),
            ("score, Fashion-MNIST, unit", 44.1, False),
        ],
        missing=[("stl10", "no mirror answered; give data.root=...")],
    )
