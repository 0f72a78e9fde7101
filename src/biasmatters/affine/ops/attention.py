"""Attention, rewritten as the products and the softmax that it is made of.

``out = softmax(q k^T s + mask) v`` is a product of two tracked tensors, so it is first-order and
its intercept is ``-A v``. Half of a unit's bias goes to the values v and half to the weights A,
each by the rule over the same contributions ``A[p, q] v[q]``. The half that meets the softmax
stays at its logit and goes on to queries and keys in halves. With frozen attention weights A is a
constant and all of it goes to the values.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.registry import decomposes

_frozen: ContextVar[list[bool] | None] = ContextVar("frozen_attention_weights", default=None)


@contextmanager
def frozen_attention(flag: bool) -> Iterator[None]:
    """Take attention weights for constants for a while, and warn if there are none."""
    met: list[bool] = []
    token = _frozen.set(met if flag else None)
    try:
        yield
    finally:
        _frozen.reset(token)
    if flag and not met:
        warnings.warn(
            "freeze_attention=True froze nothing: the model calls neither "
            "F.scaled_dot_product_attention nor nn.MultiheadAttention. Attention that it writes "
            "out itself, softmax(q @ k.mT) @ v, is not recognised; detach its weights there.",
            UserWarning,
            stacklevel=5,
        )


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    *,
    fused: bool,
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention ``(..., L, D)``; returns the output and its weights.

    A row whose logits are all masked has the weights 0 in torch's fused form, NaN in the plain one.
    """
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    logits = torch.matmul(q * factor, k.transpose(-2, -1))
    if causal:
        keep = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).tril()
        logits = logits.masked_fill(~keep, -torch.inf)
    if mask is not None:
        is_bool = mask.dtype == torch.bool
        logits = logits.masked_fill(~mask, -torch.inf) if is_bool else logits + mask
    dead = _masked_rows(logits) if fused else None
    if dead is None:
        weights = torch.softmax(logits, -1)
    else:
        weights = torch.softmax(logits.masked_fill(dead, 0.0), -1).masked_fill(dead, 0.0)
    met = _frozen.get()
    if met is not None:
        met.append(True)
        weights = torch.Tensor.detach(weights)
    return torch.matmul(weights, v), weights


def _masked_rows(logits: Tensor) -> Tensor | None:
    """Rows ``(..., L, 1)`` without any key left, None if there are none."""
    with torch._C.DisableTorchFunction():  # noqa: SLF001 - it is no choice by the input's values
        dead = logits.isneginf().all(-1, keepdim=True)
        return dead if bool(dead.any()) else None


@decomposes("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As torch's own, without dropout."""
    if dropout_p > 0:
        return F.dropout(query, dropout_p, training=True)
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key = key.repeat_interleave(repeats, -3)
        value = value.repeat_interleave(repeats, -3)
    return attend(query, key, value, attn_mask, is_causal, scale, fused=True)[0]


@decomposes("multi_head_attention_forward")
def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,  # noqa: ARG001 - torch's own signature
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,  # noqa: ARG001
    static_v: Tensor | None = None,  # noqa: ARG001
    average_attn_weights: bool = True,
    is_causal: bool = False,  # noqa: ARG001 - the mask says it
) -> tuple[Tensor, Tensor | None]:
    """As torch's own, for ``(L, N, E)`` or ``(L, E)`` inputs."""
    if training and dropout_p > 0:
        return F.dropout(query, dropout_p, training=True), None
    single = query.ndim == 2
    if single:
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
    if in_proj_weight is not None and not use_separate_proj_weight:
        q_proj_weight, k_proj_weight, v_proj_weight = in_proj_weight.chunk(3)
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    q = F.linear(query, q_proj_weight, biases[0])  # type: ignore[arg-type]
    k = F.linear(key, k_proj_weight, biases[1])  # type: ignore[arg-type]
    v = F.linear(value, v_proj_weight, biases[2])  # type: ignore[arg-type]
    count, width = query.shape[1], query.shape[2]
    if bias_k is not None and bias_v is not None:
        k = torch.cat([k, bias_k.expand(1, count, width)])
        v = torch.cat([v, bias_v.expand(1, count, width)])
    if add_zero_attn:
        k = F.pad(k, (0, 0, 0, 0, 0, 1))
        v = F.pad(v, (0, 0, 0, 0, 0, 1))

    def heads(t: Tensor) -> Tensor:
        batch_first = t.transpose(0, 1)
        width = batch_first.shape[2] // num_heads
        return batch_first.reshape(*batch_first.shape[:2], num_heads, width).transpose(1, 2)

    mask = _mask(attn_mask, key_padding_mask, count, num_heads, k.shape[0], query)
    out, weights = attend(heads(q), heads(k), heads(v), mask, False, None, fused=not need_weights)
    out = F.linear(out.transpose(1, 2).flatten(2).transpose(0, 1), out_proj_weight, out_proj_bias)
    shown = (weights.mean(1) if average_attn_weights else weights) if need_weights else None
    if single:
        return out.squeeze(1), None if shown is None else shown.squeeze(0)
    return out, shown


def _mask(
    attn: Tensor | None, padding: Tensor | None, count: int, heads: int, keys: int, like: Tensor
) -> Tensor | None:
    """Both masks as one that is added to the logits ``(N, heads, L, S)``."""

    def additive(mask: Tensor) -> Tensor:
        if mask.dtype != torch.bool:
            return mask.to(like.dtype)
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)

    total: Tensor | None = None
    if attn is not None:
        total = additive(attn)
        total = total.reshape(count, heads, *total.shape[1:]) if total.ndim == 3 else total
        total = F.pad(total, (0, keys - total.shape[-1]))
    if padding is not None:
        wide = F.pad(additive(padding), (0, keys - padding.shape[-1])).reshape(count, 1, 1, keys)
        total = wide if total is None else total + wide
    return total
