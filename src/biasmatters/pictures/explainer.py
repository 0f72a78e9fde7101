"""A network and what is asked of it, ready for one picture after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biasmatters.attribution import BiasBackprop, Landing, landings, reduce_channels
from biasmatters.attribution.landing import gap
from biasmatters.attribution.propagation import Propagation
from biasmatters.data.photograph import prepare_photograph, read_photograph
from biasmatters.models.zoo import Pretrained
from biasmatters.pictures.request import Extra, Request
from biasmatters.pictures.targets import choose_class
from biasmatters.reporting.depths import Depth, Depths
from biasmatters.reporting.labels import method_name, rule_name
from biasmatters.reporting.portrait import Guess, Portrait

Array = NDArray[np.floating]
SHOWN = 5
# What a map of parts may be off by before the figure says that they do not add up.
ADDS_UP = 1e-3


@dataclass(frozen=True)
class Explained:
    """What was found out about one picture.

    Attributes:
        portrait: What its figure shows.
        depths: What the figure of its layers shows, if asked for.
        pixels: ``(H, W, 3)`` uint8, as the network sees it.
        maps: ``(C, H, W)`` float32 by name, in units of the explained logit.
    """

    portrait: Portrait
    depths: Depths | None
    pixels: NDArray[np.uint8]
    maps: Mapping[str, Array]


class Explainer:
    """Explains pictures with one network.

    Args:
        pretrained: The network.
        request: Rule, target, further methods, device.

    Raises:
        PictureRequestError: The network has no such class.
        RuleError: There is no such rule.
    """

    def __init__(self, pretrained: Pretrained, request: Request) -> None:
        self.card = pretrained.card
        self.request = request
        self.target = choose_class(request.target, self.card.categories)
        self.device = _device(request.device)
        self.network = pretrained.network.to(self.device)
        self.method = BiasBackprop(self.network, request.rule, request.temperature)
        self.more = [(extra, extra.make(self.network)) for extra in request.more]

    def explain(self, path: Path) -> Explained:
        """Read, prepare and explain one picture.

        Raises:
            UnreadableImageError: The file is no picture that can be used.
        """
        whole = read_photograph(path, smallest=self.card.preprocessing.resize)
        how = self.card.preprocessing
        pixels = prepare_photograph(whole, how.resize, how.crop, how.interpolation)
        x = self._input(pixels)
        with torch.no_grad():
            logits = self.network(x)[0].double().cpu()
        target = self.target.among(logits)
        found = self.method.propagate((x,), target)
        maps = self._maps(x, found)
        extra = {e.name: m.explain(x, target).map for e, m in self.more}
        portrait = self._portrait(path, pixels, logits, target, found, {**maps, **extra})
        depths = self._depths(portrait, found) if self.request.layers else None
        arrays = {name: _array(values[0]) for name, values in {**maps, **extra}.items()}
        return Explained(portrait, depths, pixels, arrays)

    def _input(self, pixels: NDArray[np.uint8]) -> Tensor:
        """``(1, 3, H, W)``, normalised as the network was trained."""
        mean, std = (
            torch.tensor(values, device=self.device).view(-1, 1, 1)
            for values in (self.card.preprocessing.mean, self.card.preprocessing.std)
        )
        colours = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1).float() / 255
        return ((colours - mean) / std)[None]

    def _maps(self, x: Tensor, found: Propagation) -> dict[str, Tensor]:
        gradient, bias = found.recording.weights[0], found.walk.maps[0]
        product = gradient * x
        return {
            "gradient": gradient,
            "input_x_gradient": product,
            "bbp": bias,
            "input_x_gradient_plus_bbp": product + bias,
        }

    def _portrait(
        self,
        path: Path,
        pixels: NDArray[np.uint8],
        logits: Tensor,
        target: int,
        found: Propagation,
        maps: Mapping[str, Any],
    ) -> Portrait:
        certificate = found.certify()
        bias = float(found.bias)
        inexact = ", ".join(certificate.first_order_ops[:3])
        verdict = certificate.verdict + (f" ({inexact})" if inexact else "")
        best = logits.topk(min(SHOWN, len(logits))).indices.tolist()
        chances = logits.softmax(0)
        guesses = [
            Guess(self.card.categories[i], i, float(chances[i]), float(logits[i]))
            for i in [*best, target]
        ]
        height, width = pixels.shape[:2]
        return Portrait(
            title=path.name,
            network=self.card.name,
            picture=pixels / 255,
            guesses=guesses[:-1],
            target=guesses[-1],
            linear=float(found.linear),
            bias=bias,
            maps={heading: self._shown(name, maps) for name, heading in self._headings().items()},
            certificate=verdict if certificate.passed else f"{verdict}, NOT PASSED",
            residual=float(found.delta.abs()) / (1 + abs(bias)),
            note=f"the centre, {height} x {width} pixels",
        )

    def _headings(self) -> dict[str, str]:
        rule = rule_name(self.request.rule)
        if self.request.temperature != 1:
            rule += f" T={self.request.temperature:g}"
        plain = {
            "gradient": "Gradient w",
            "input_x_gradient": "Input × gradient, sums to w·x",  # noqa: RUF001
            "bbp": f"BBp, {rule}, sums to b",
            "input_x_gradient_plus_bbp": "Both, sums to f",
        }
        return plain | {e.name: method_name(e.name, e.rule) for e in self.request.more}

    def _shown(self, name: str, maps: Mapping[str, Tensor]) -> Array:
        extra: dict[str, Extra] = {e.name: e for e in self.request.more}
        reduction = extra[name].reduction if name in extra else "sum"
        return _array(reduce_channels(maps[name], reduction)[0])

    def _depths(self, portrait: Portrait, found: Propagation) -> Depths:
        parts = list(landings(self.method, found))
        ledger = [(row.name, float(row.share)) for row in found.recording.ledger()]
        off = float(gap(found.walk.maps[0], parts)) if parts else 0.0
        note = ""
        if off > ADDS_UP:
            note = (
                f"With this rule the way down depends on the bias itself: these maps do not add "
                f"up to BBp's, which they miss by {100 * off:.0f} % of its absolute sum."
            )
        return Depths(
            title=f"{portrait.title}: where the bias of “{portrait.target.name}” comes from",
            picture=portrait.picture,
            shares=[(name, share) for name, share in ledger if share],
            parts=[_depth(part) for part in parts],
            note=note,
        )


def _depth(part: Landing) -> Depth:
    shown = _array(reduce_channels(part.map, "sum")[0])
    return Depth(part.layers, float(part.injected), shown)


def _array(values: Tensor) -> Array:
    found: Array = values.detach().float().cpu().numpy()
    return found


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
