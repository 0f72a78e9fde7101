"""Removed pixels filled from their neighbours, after ROAD."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from biasmatters.metrics.functional._checks import MetricInputError, check_images
from biasmatters.metrics.functional._multigrid import Multigrid, Pixels, neighbour_sum

# Of the error that the known pixels' mean would make, in the norm of the system.
TOLERANCE = 1e-8
# Fifteen were enough for any mask that was tried, and eight for most.
MOST_STEPS = 100
# What stays in a processor's cache; a GPU wants all at once.
VALUES_PER_BLOCK = {"cpu": 2**19}
MOST_VALUES = 2**22


def noisy_linear_imputation(
    x: Tensor, removed: Tensor, *, noise: float | Tensor = 0.01, seed: int = 0
) -> Tensor:
    """Fill every removed pixel with the weighted mean of its neighbours, plus noise.

    The filled values u solve u_i = sum_j w_ij u_j / sum_j w_ij over the eight neighbours j of i
    inside the picture, known or removed, with w = 1/6 beside and 1/12 across a corner: at the
    border the weights that are there are scaled to sum to 1, as in the authors' code. Then
    N(0, noise^2) is added to each removed value. Channels are filled apart.

    The system is solved in float64 by conjugate gradient with a multigrid preconditioner, on x's
    device, to within about 1e-8 of the range of the picture.

    Args:
        x: ``(N, C, H, W)`` pictures.
        removed: ``(N, H, W)`` bool, True where a pixel is to be filled; never a whole picture.
        noise: Standard deviation in units of x, one or ``(C,)``. The authors' 0.01 is in units
            of [0, 1] pixels: on pictures normalised by a standard deviation s give 0.01 / s.
        seed: Of one field of noise ``(C, H, W)`` for all pictures, so that what a picture is
            filled with does not depend on its batch.

    Returns:
        ``(N, C, H, W)``, x with its removed pixels replaced.

    Raises:
        MetricInputError: For shapes that disagree, a mask that is not bool, noise that cannot be,
            or a picture of which no pixel is known.

    Source:
        Rong, Leemann, Borisov, Kasneci, Kasneci: A Consistent and Efficient Evaluation Strategy
        for Attribution Methods, ICML 2022; ``road/imputations.py`` of the authors' code (read).

    Example:
        >>> import torch
        >>> x = torch.tensor([[[[0.0, 9, 9, 3]]]])
        >>> removed = torch.tensor([[[False, True, True, False]]])
        >>> noisy_linear_imputation(x, removed, noise=0).round(decimals=4)
        tensor([[[[0., 1., 2., 3.]]]])
    """
    check_images(x)
    _check_removed(x, removed)
    removed, deviation = removed.to(x.device), _deviation(noise, x)
    field = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
    grain = field.to(x.device, x.dtype) * deviation
    block = max(1, VALUES_PER_BLOCK.get(x.device.type, MOST_VALUES) // x[0].numel())
    out = torch.empty_like(x)
    with torch.no_grad():
        for first in range(0, len(x), block):
            rows = slice(first, first + block)
            gap = removed[rows, None]
            out[rows] = torch.where(gap, _filled(x[rows], gap).to(x.dtype) + grain, x[rows])
    return out


def _check_removed(x: Tensor, removed: Tensor) -> None:
    if removed.dtype != torch.bool or removed.shape != (len(x), *x.shape[2:]):
        raise MetricInputError(
            f"removed is {removed.dtype} {tuple(removed.shape)}; pictures of shape "
            f"{tuple(x.shape)} need a bool mask {(len(x), *x.shape[2:])}."
        )
    bare = int(removed.flatten(1).all(1).sum())
    if bare:
        raise MetricInputError(
            f"{bare} of {len(x)} pictures lose every pixel, so there is nothing to fill them from; "
            "keep at least one."
        )


def _deviation(noise: float | Tensor, x: Tensor) -> Tensor:
    """``(1, 1, 1)`` or ``(C, 1, 1)``."""
    deviation = torch.as_tensor(noise, dtype=x.dtype, device=x.device)
    if deviation.ndim > 1 or deviation.numel() not in (1, x.shape[1]):
        raise MetricInputError(
            f"noise has the shape {tuple(deviation.shape)}; give one number or {x.shape[1]}, one "
            "per channel."
        )
    if not bool((deviation >= 0).all() and deviation.isfinite().all()):
        raise MetricInputError("noise is a standard deviation: it must be finite and at least 0.")
    return deviation.view(-1, 1, 1)


def _filled(x: Tensor, removed: Tensor) -> Tensor:
    """Solutions in float64 at the removed pixels ``(B, 1, H, W)`` of x ``(B, C, H, W)``."""
    height, width = x.shape[-2:]
    odd = (0, 1 - width % 2, 0, 1 - height % 2)
    inside = pad(torch.ones_like(removed[:1]), odd)
    known = (~removed).double()
    values = x.double() * known
    middle = values.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
    values = (values - middle) * known
    # The preconditioner is float32: without a unit it could overflow.
    unit = values.abs().amax((2, 3), keepdim=True)
    unit = torch.where(unit > 0, unit, 1)
    edge = pad(values / unit, (1, odd[1] + 1, 1, odd[3] + 1))
    gap = pad(removed, odd)
    exact, rough = (Pixels(gap, inside, dtype) for dtype in (torch.float64, torch.float32))
    found = _solve(exact, Multigrid(rough), neighbour_sum(edge) * exact.mask)
    return found[..., 1 : height + 1, 1 : width + 1] * unit + middle


def _solve(system: Pixels, inverse: Multigrid, r: Tensor) -> Tensor:
    """A^-1 r by preconditioned conjugate gradient; a channel that is done stays as it is."""
    u = torch.zeros_like(r)
    z = inverse(r.float()).double()
    p, size = z, _dot(r, z)
    goal = TOLERANCE**2 * size
    for _ in range(MOST_STEPS):
        active = size > goal
        if not bool(active.any()):
            return u
        q = system.add(torch.zeros_like(p), p, 1)
        rate = torch.where(active, size / _dot(p, q), 0)
        u.addcmul_(rate, p)
        r.addcmul_(rate, q, value=-1)
        z = inverse(r.float()).double()
        former, size = size, _dot(r, z)
        p = torch.addcmul(z, torch.where(active, size / former, 0), p)
    raise MetricInputError(
        f"the removed pixels could not be filled in {MOST_STEPS} steps: this should not happen; "
        "please report the picture and the mask."
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """``(B, C, 1, 1)``."""
    return (a.flatten(2).unsqueeze(2) @ b.flatten(2).unsqueeze(3)).view(*a.shape[:2], 1, 1)
