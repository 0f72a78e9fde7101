"""Dense replicas of products of two activations' matrices, and of attention made of them.

Half of a unit's bias goes to each factor, by the rule over the same contributions.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from tests.reference.case import Case, assert_agree, assert_replicas_agree, headed, leaky, manners
from tests.reference.links import Manner, Stage, bias_map, read

SEED = torch.Generator().manual_seed(13)
QKV = torch.randn(3, 4, 4, generator=SEED, dtype=torch.float64) / 2
BIASES = torch.randn(3, 4, generator=SEED, dtype=torch.float64)
T, D = 3, 4
Q, K, V = slice(0, T * D), slice(T * D, 2 * T * D), slice(2 * T * D, 3 * T * D)
LOGITS, VALUES = slice(0, T * T), slice(T * T, T * T + T * D)


def projected(x: Tensor) -> list[Tensor]:
    return [F.linear(x, w, b) for w, b in zip(QKV, BIASES, strict=True)]


def together(*parts: Tensor) -> Tensor:
    return torch.cat([p.flatten(1) for p in parts], 1)


def logits(s: Tensor) -> Tensor:
    q, k = s[:, Q].reshape(-1, T, D), s[:, K].reshape(-1, T, D)
    return q @ k.mT


def weighed(s: Tensor) -> Tensor:
    return s[:, LOGITS].reshape(-1, T, T) @ s[:, VALUES].reshape(-1, T, D)


def softened(s: Tensor) -> Tensor:
    return together(s[:, LOGITS].reshape(-1, T, T).softmax(-1), s[:, VALUES])


def attention_stages(_: Tensor) -> Sequence[Stage]:
    scale = torch.tensor([0.5, 1, 1], dtype=torch.float64).repeat_interleave(T * D)
    return [
        Stage(lambda x: together(*projected(x))),
        Stage(lambda s: s * scale, "slope"),
        Stage(lambda s: together(logits(s), s[:, V]), "apart", False, (Q, K), T * T),
        Stage(softened, "stay", affine=False),
        Stage(weighed, "apart", False, (LOGITS, VALUES)),
    ]


def attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(*projected(x))


def halves(a: int, b: int) -> tuple[slice, slice]:
    return slice(0, a), slice(a, a + b)


CASES = {
    "matmul": Case(
        lambda x: x[:, :2] @ x[:, 2:].mT,
        (5, 3),
        lambda _: [Stage(lambda x: x[:, :2] @ x[:, 2:].mT, "apart", False, halves(6, 9))],
    ),
    "bmm": Case(
        lambda x: torch.bmm(x[:, :3].mT, x[:, 3:]),
        (6, 2),
        lambda _: [Stage(lambda x: torch.bmm(x[:, :3].mT, x[:, 3:]), "apart", False, halves(6, 6))],
    ),
    "einsum": Case(
        lambda x: torch.einsum("nij,nkj->nik", x[:, :2], x[:, 2:]),
        (5, 3),
        lambda _: [Stage(lambda x: x[:, :2] @ x[:, 2:].mT, "apart", False, halves(6, 9))],
    ),
    "gram": Case(
        lambda x: x @ x.mT,
        (3, 2),
        lambda _: [
            Stage(lambda x: torch.cat([x, x], 1), "route"),
            Stage(lambda s: s[:, :3] @ s[:, 3:].mT, "apart", False, halves(6, 6)),
        ],
    ),
    "attention": Case(attention, (T, D), attention_stages),
}


@pytest.mark.parametrize("name", CASES)
def test_each_factor_takes_half(name: str) -> None:
    assert_replicas_agree(CASES[name])


def test_the_attention_layer_is_made_of_the_same_steps() -> None:
    """With reshapes in between, so it is compared unfolded."""
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(D, 1, batch_first=True).double().eval()
    with torch.no_grad():
        layer.in_proj_weight.copy_(QKV.reshape(3 * D, D))
        layer.in_proj_bias.copy_(BIASES.flatten())
        nn.init.normal_(layer.out_proj.bias)
    case = Case(
        lambda x: layer(x, x, x)[0],
        (T, D),
        lambda x: [
            *attention_stages(x),
            Stage(lambda h: layer.out_proj(h.reshape(-1, T, D)).detach()),
        ],
    )
    x = torch.randn(2, T, D, dtype=torch.float64)
    assert_agree(case, headed(leaky)(x), x, list(manners("uniform", (False,))))


@pytest.mark.parametrize("rule", bm.RULES)
def test_frozen_attention_mixes_the_values_by_constants(rule: str) -> None:
    """All of the bias goes to the values, and slopes that follow fold."""
    torch.manual_seed(0)
    x = torch.randn(1, T, D, dtype=torch.float64)
    q, k, _ = projected(x)
    weights = (q @ k.mT / 2).softmax(-1)
    above = headed(leaky)(x)

    def net(t: Tensor) -> Tensor:
        t = attention(t)
        for stage in above:
            t = stage.function(t)
        return t

    stages = [Stage(lambda t: projected(t)[2]), Stage(lambda v: weights @ v), *above]
    for fold in (False, True):
        bbp = bm.BiasBackprop(net, rule, 0.4, fold, freeze_attention=True)
        wanted = bias_map(read(stages, x), 1, Manner(rule, 0.4, fold))
        torch.testing.assert_close(
            bbp.explain(x, 1).map.flatten(), torch.from_numpy(wanted), rtol=1e-9, atol=1e-10
        )
