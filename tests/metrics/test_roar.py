"""What ROAR trains on, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biasmatters.metrics.functional import MetricInputError
from biasmatters.metrics.functional.roar import without_top


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.55, 1.0])
def test_equals_a_loop_over_pixels(fraction: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 5, 7, generator=generator)
    maps = torch.randn(3, 2, 5, 7, generator=generator)
    fill = torch.tensor([0.25, -1.0])
    found = without_top(x, maps, fraction, fill).numpy()
    for i in range(3):
        expected, saliency = x[i].numpy().copy(), maps[i].sum(0).numpy().ravel()
        for place in np.argsort(-saliency)[: int(fraction * 35)]:
            expected[:, place // 7, place % 7] = fill.numpy()
        np.testing.assert_array_equal(found[i], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 1.5}, "fraction=1.5"),
        ({"fill": torch.zeros(3)}, "one value a channel"),
        ({"maps": torch.full((2, 4, 4), torch.nan)}, "NaN"),
        ({"x": torch.zeros(2, 16)}, "x has the shape"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    call: dict[str, object] = {
        "x": torch.rand(2, 1, 4, 4),
        "maps": torch.rand(2, 4, 4),
        "fraction": 0.5,
        "fill": torch.zeros(1),
    }
    with pytest.raises(MetricInputError, match=message):
        without_top(**{**call, **change})  # type: ignore[arg-type]
