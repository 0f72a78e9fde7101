"""A network and what is asked of it, ready for one picture after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biasmatters.attribution import BiasBackprop, Landing, landings, reduce_channels
from biasmatters.attribution.landing import gap
from biasmatters.attribution.propagation import CertifiedPropagation
from biasmatters.data.normalization import Normalization
from biasmatters.data.preparation import CentreCrop
from biasmatters.models.zoo import Pretrained
from biasmatters.pictures.captions import guess, headings, likeliest, preparation, verdict
from biasmatters.pictures.errors import PictureRequestError
from biasmatters.pictures.request import Extra, Request
from biasmatters.pictures.targets import choose_class
from biasmatters.reporting.depths import Depth, Depths
from biasmatters.reporting.portrait import Guess, Portrait

Array = NDArray[np.floating]
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
        how = self.card.preprocessing
        self.prepare = CentreCrop(how.resize, how.crop, how.interpolation)
        self.normalization = Normalization("standard", how.mean, how.std)
        self.request = request
        self.target = choose_class(request.target, self.card.categories)
        self.device = _device(request.device)
        self.network = pretrained.network.to(self.device)
        self.method = BiasBackprop(
            self.network, request.rule, request.temperature, request.fold, request.fallback
        )
        self.more = [(extra, extra.make(self.network)) for extra in request.more]

    def explain(self, path: Path) -> Explained:
        """Read, prepare and explain one picture.

        Raises:
            UnreadableImageError: The file is no picture that can be used.
        """
        pixels = self.prepare(path)
        x = self._input(pixels)
        with torch.no_grad():
            logits = self.network(x)[0].double().cpu()
        target = self.target.among(logits)
        found = self.method.certified((x,), target, keep=self.request.layers)
        maps = self._maps(x, found)
        maps |= {extra.name: method.explain(x, target).single for extra, method in self.more}
        shown = pixels.transpose(1, 2, 0)
        chosen = guess(logits, self.card.categories, target)
        portrait = self._portrait(path.name, shown, logits, chosen, found, maps)
        depths = self._depths(portrait, found) if self.request.layers else None
        arrays = {name: _array(values[0]) for name, values in maps.items()}
        return Explained(portrait, depths, shown, arrays)

    def _input(self, pixels: NDArray[np.uint8]) -> Tensor:
        """``(1, 3, H, W)``, normalised as the network was trained."""
        colours = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device).float() / 255
        return self.normalization.apply(colours)[None]

    def _maps(self, x: Tensor, found: CertifiedPropagation) -> dict[str, Tensor]:
        gradient, bias = found.point.weights[0], found.walk.maps[0]
        product = gradient * x
        return {
            "gradient": gradient,
            "input_x_gradient": product,
            "bbp": bias,
            "input_x_gradient_plus_bbp": product + bias,
        }

    def _portrait(
        self,
        title: str,
        pixels: NDArray[np.uint8],
        logits: Tensor,
        chosen: Guess,
        found: CertifiedPropagation,
        maps: Mapping[str, Tensor],
    ) -> Portrait:
        bias = float(found.bias)
        return Portrait(
            title=title,
            network=self.card.name,
            picture=pixels / 255,
            guesses=likeliest(logits, self.card.categories),
            target=chosen,
            linear=float(found.linear),
            bias=bias,
            maps={text: self._shown(name, maps) for name, text in headings(self.request).items()},
            certificate=verdict(found.certificate),
            residual=float(found.delta.abs()) / (1 + abs(bias)),
            note=preparation(self.card.preprocessing),
        )

    def _shown(self, name: str, maps: Mapping[str, Tensor]) -> Array:
        extra: dict[str, Extra] = {e.name: e for e in self.request.more}
        reduction = extra[name].reduction if name in extra else "sum"
        return _array(reduce_channels(maps[name], reduction)[0])

    def _depths(self, portrait: Portrait, found: CertifiedPropagation) -> Depths:
        parts = list(landings(self.method, found))
        ledger = [(row.name, float(row.share)) for row in found.ledger]
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
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:  # unknown, not built in, or not there
            why = str(error).partition("\n")[0]
            raise PictureRequestError(f"device {name} cannot be used: {why}") from error
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
