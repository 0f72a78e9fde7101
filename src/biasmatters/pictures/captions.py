"""What stands beside the maps of a picture."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from biasmatters.models.zoo import Preprocessing
from biasmatters.pictures.request import Request
from biasmatters.reporting.labels import method_name, rule_name
from biasmatters.reporting.portrait import Guess
from biasmatters.types import Certificate

SHOWN = 5
NAMED = 3


def headings(request: Request) -> dict[str, str]:
    """What each map is called in the figure, in the order in which they are drawn."""
    rule = rule_name(request.rule)
    if request.temperature != 1:
        rule += f" T={request.temperature:g}"
    plain = {
        "gradient": "Gradient w",
        "input_x_gradient": "Input × gradient, sums to w·x",
        "bbp": f"BBp, {rule}, sums to b",
        "input_x_gradient_plus_bbp": "Both, sums to f",
    }
    return plain | {extra.name: method_name(extra.name, extra.rule) for extra in request.more}


def likeliest(logits: Tensor, categories: Sequence[str]) -> list[Guess]:
    """The five likeliest classes for one picture's logits, ``(classes,)``."""
    best = logits.topk(min(SHOWN, len(logits))).indices.tolist()
    return [guess(logits, categories, index) for index in best]


def guess(logits: Tensor, categories: Sequence[str], index: int) -> Guess:
    """What the network makes of one class."""
    chance = float(logits.softmax(0)[index])
    return Guess(categories[index], index, chance, float(logits[index]))


def verdict(certificate: Certificate) -> str:
    """``exact``, or what is only linearised; and whether the residual is more than round-off."""
    text: str = certificate.verdict
    names = certificate.first_order_ops
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        text += f" ({', '.join(names[:NAMED])}{more})"
    return text if certificate.passed else f"{text}, NOT PASSED"


def preparation(how: Preprocessing) -> str:
    """How the picture was made from the file."""
    height, width = how.crop
    return f"shorter side scaled to {how.resize}, centre {height} × {width}"
