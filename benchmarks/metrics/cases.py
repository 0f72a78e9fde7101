"""What is timed: curves here, the other metrics in `further`; add a line for another one."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.metrics import further
from benchmarks.metrics.case import Case, Goal, Work, calls
from benchmarks.metrics.scenes import METHODS, Scene
from biasmatters.metrics.functional import deletion, insertion
from biasmatters.metrics.functional.keep_remove import FRACTIONS, keep_remove
from biasmatters.metrics.functional.pixel_flipping import pixel_flipping
from biasmatters.metrics.functional.several import deletion_insertion

SMALL, FEW, LARGE = "ResNet-18", "ResNet-18, few", "CNN"
LIMIT = 1.15
MINUTES = 4


def _deletion(scene: Scene) -> Work:
    return partial(deletion, scene.model, scene.x, scene.map, steps=scene.steps)


def _insertion(scene: Scene) -> Work:
    return partial(insertion, scene.model, scene.x, scene.map, steps=scene.steps)


def _both(scene: Scene) -> Work:
    falls, rises = _deletion(scene), _insertion(scene)
    return lambda: (falls(), rises())


def _one_by_one(scene: Scene) -> Work:
    def work() -> None:
        for maps in scene.maps.values():
            deletion(scene.model, scene.x, maps, steps=scene.steps)
            insertion(scene.model, scene.x, maps, steps=scene.steps)

    return work


def _several(scene: Scene) -> Work:
    return partial(deletion_insertion, scene.model, scene.x, scene.maps, steps=scene.steps)


def _flipping(scene: Scene) -> Work:
    return partial(
        pixel_flipping,
        scene.model,
        scene.x,
        scene.map,
        scene.target,
        features_per_step=_flipped(scene),
        together=False,
    )


def _quantus(scene: Scene) -> Work:
    """Quantus' PixelFlipping with as many steps of as many values."""
    from quantus.metrics.faithfulness.pixel_flipping import PixelFlipping

    x, target, maps = scene.x.numpy(), scene.target.numpy(), scene.map.unsqueeze(1).numpy()
    # A number is one of the baselines it takes; its annotation says otherwise.
    how: dict[str, Any] = {"perturb_baseline": 0.0, "disable_warnings": True}
    metric = PixelFlipping(features_in_step=_flipped(scene), **how)
    return lambda: metric(
        model=scene.model, x_batch=x, y_batch=target, a_batch=maps, batch_size=len(x)
    )


def _flipped(scene: Scene) -> int:
    """Values in a step; Quantus wants a divisor of the number of pixels."""
    return 4 * scene.x[0, 0].numel() // scene.steps


def _keep(scene: Scene) -> Work:
    return partial(keep_remove, scene.model, scene.x, scene.map)


_CURVE = calls(lambda s: [s.steps + 1])
_PAIR = calls(lambda s: [s.steps + 1] * 2)
_PAIRS = calls(lambda s: [s.steps + 1] * 2 * METHODS)
_SHARED = calls(lambda s: [3 + 2 * METHODS * (s.steps - 1)])
_FLIPS = calls(lambda s: [s.x[0].numel() // _flipped(s) + 1])
# It does not score the intact pictures, and takes all pictures at once.
_QUANTUS = calls(lambda s: [s.x[0].numel() // _flipped(s)])
_SHARES = calls(lambda _: [len(FRACTIONS)])

CASES = (
    Case("deletion", SMALL, _CURVE, _deletion),
    Case("insertion", SMALL, _CURVE, _insertion),
    Case("deletion and insertion", SMALL, _PAIR, _both, Goal("ratio", LIMIT)),
    Case("pixel flipping", SMALL, _FLIPS, _flipping),
    Case("pixel flipping, Quantus", SMALL, _QUANTUS, _quantus),
    Case("keep", SMALL, _SHARES, _keep),
    Case(f"both of {METHODS} methods one by one", FEW, _PAIRS, _one_by_one),
    Case(f"both of {METHODS} methods at once", FEW, _SHARED, _several),
    Case(
        f"both of {METHODS} methods at once, Fashion-MNIST's size",
        LARGE,
        _SHARED,
        _several,
        Goal("seconds", 60 * MINUTES),
        once=True,
    ),
    *further.CASES,
)
