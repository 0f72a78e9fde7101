"""How few pixels a map is about."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional._maps import figure_type, pixel_values


def sparseness(maps: Tensor) -> Tensor:
    """Gini index of the absolute attributions.

    sum_i (2 i - P - 1) m_i / (P sum_i m_i), with m the absolute values of the P pixels in rising
    order, i = 1..P. 0 if all are alike, 1 - 1/P if one pixel has everything: high is sparser. It
    judges no truth: the wrong pixel alone scores best too. A map of zeros counts as the constant
    map that it is, 0.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.

    Returns:
        ``(N,)`` from 0 to 1 - 1/P.

    Raises:
        MetricInputError: For another shape, NaN or infinite values.

    Source:
        Chalasani, Chen, Roy Chowdhury, Jha, Wu: Concise Explanations of Neural Networks using
        Adversarial Training, ICML 2020; Hurley, Rickard: Comparing Measures of Sparsity, 2009
        (both recalled; the formula as in Quantus' Sparseness, read).

    Example:
        >>> import torch
        >>> sparseness(torch.tensor([[[0.0, 0.0], [0.0, -5.0]], [[2.0, 2.0], [2.0, -2.0]]]))
        tensor([0.7500, 0.0000])
    """
    mass = _mass(maps).sort(1).values
    pixels = mass.shape[1]
    place = torch.arange(1, pixels + 1, device=mass.device, dtype=mass.dtype)
    found = ((2 * place - pixels - 1) * mass).sum(1) / (pixels * mass.sum(1))
    return found.clamp(min=0).to(figure_type(maps))


def complexity_entropy(maps: Tensor, *, relative: bool = False) -> Tensor:
    """Entropy of how the absolute attributions are shared out.

    H = -sum_i p_i ln p_i, p_i = abs(a_i) / sum abs(a). 0 if one pixel has everything, ln P nats
    if all P are alike: low is simpler. It judges no truth: the wrong pixel alone scores best too.
    A map of zeros counts as the constant map that it is, ln P. exp(H) is the number of pixels
    that the map is effectively about.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        relative: Divide by ln P, so that sizes of pictures can be compared.

    Returns:
        ``(N,)`` in nats from 0 to ln P, or from 0 to 1 if relative.

    Raises:
        MetricInputError: For another shape, NaN, or a relative entropy of one pixel.

    Source:
        Bhatt, Weller, Moura: Evaluating and Aggregating Feature-based Model Explanations, IJCAI
        2020 (recalled; the formula as in Quantus' Complexity, read).

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[0.0, 0.0], [0.0, -5.0]], [[2.0, 2.0], [2.0, -2.0]]])
        >>> complexity_entropy(maps), complexity_entropy(maps, relative=True)
        (tensor([0.0000, 1.3863]), tensor([0., 1.]))
    """
    mass = _mass(maps)
    most = torch.tensor(mass.shape[1], dtype=mass.dtype).log()
    if relative and mass.shape[1] == 1:
        raise MetricInputError("a map of one pixel has no entropy to be relative to.")
    share = mass / mass.sum(1, keepdim=True)
    found: Tensor = torch.special.entr(share).sum(1).clamp(min=0)
    return (found / most if relative else found).to(figure_type(maps))


def _mass(maps: Tensor) -> Tensor:
    """Absolute values ``(N, P)``, at most 1; ones for a map of zeros."""
    mass = pixel_values(maps).abs()
    top = mass.amax(1, keepdim=True)
    # Divided first, so that the sum of huge values does not overflow.
    return torch.where(top > 0, mass / top, 1.0)
