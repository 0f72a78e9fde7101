"""What stands in for a pixel that a metric takes away."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from biasmatters.metrics.functional._checks import MetricInputError

BaselineName = Literal["zero", "mean", "blur", "noise"]
Baseline = BaselineName | Tensor

BLUR_SIZE = 11
BLUR_SIGMA = 5.0


def gaussian_window(size: int = BLUR_SIZE, sigma: float = BLUR_SIGMA) -> Tensor:
    """One axis of RISE's blur kernel: a centred impulse, smoothed inside its own window.

    RISE smooths an impulse with scipy's ``gaussian_filter``, which truncates at 4 sigma and
    reflects at the border; with sigma 5 in a window of 11 much of the kernel comes from those
    reflections: w[i] = sum over t of g(t) 1[reflect(i + t) = size // 2].

    Args:
        size: Odd width of the window, in pixels.
        sigma: Standard deviation of g, in pixels.

    Returns:
        ``(size,)`` float64 weights that sum to 1.
    """
    reach = int(4 * sigma + 0.5)
    offset = torch.arange(-reach, reach + 1)
    weight = torch.exp(-0.5 * (offset.double() / sigma) ** 2)
    folded = (torch.arange(size)[:, None] + offset).remainder(2 * size)
    folded = torch.minimum(folded, 2 * size - 1 - folded)
    return (weight / weight.sum() * (folded == size // 2)).sum(1)


def blur(x: Tensor, size: int = BLUR_SIZE, sigma: float = BLUR_SIGMA) -> Tensor:
    """Blur each channel as RISE does: correlation with its kernel, zeros beyond the border.

    Args:
        x: ``(N, C, H, W)`` in the network's input space.
        size: Odd width of the kernel, in pixels.
        sigma: In pixels.

    Returns:
        Like x.

    Raises:
        MetricInputError: If the picture is smaller than the kernel.
    """
    if min(x.shape[-2:]) < size:
        raise MetricInputError(
            f"a {size}x{size} blur does not fit a picture of {x.shape[-2]}x{x.shape[-1]} pixels; "
            'choose baseline="zero", "mean" or "noise", or give a tensor of your own.'
        )
    return _smooth(x, gaussian_window(size, sigma), size // 2)


def wide_blur(x: Tensor, size: int, sigma: float) -> Tensor:
    """Blur each channel as Hesse's code does: the picture is reflected at the border.

    w[d] is proportional to exp(-(d / (2 sigma))^2), as that code has it: a Gaussian whose
    standard deviation is sqrt(2) sigma.

    Args:
        x: ``(N, C, H, W)``.
        size: Odd width of the kernel, in pixels.
        sigma: In pixels.

    Returns:
        Like x.

    Raises:
        MetricInputError: If the width is even or sigma not positive, or if the picture is too
            small to be reflected.

    Source:
        Hesse, Schaub-Meyer, Roth: Fast Axiomatic Attribution for Neural Networks, NeurIPS 2021;
        ``attribution_metrics.py`` of the authors' code.
    """
    if size < 1 or size % 2 == 0 or sigma <= 0:
        raise MetricInputError(
            f"a blur of width {size} and sigma {sigma} cannot be; give an odd width and sigma > 0."
        )
    reach = size // 2
    if min(x.shape[-2:]) <= reach:
        raise MetricInputError(
            f"a {size}x{size} blur reflects {reach} pixels beyond the border, which a picture of "
            f"{x.shape[-2]}x{x.shape[-1]} pixels does not have; choose a blur_size of at most "
            f"{2 * min(x.shape[-2:]) - 1}, or a baseline."
        )
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weight = torch.exp(-((offset / (2 * sigma)) ** 2))
    padded = pad(x, (reach, reach, reach, reach), mode="reflect")
    return _smooth(padded, weight / weight.sum(), 0)


def _smooth(x: Tensor, window: Tensor, padding: int) -> Tensor:
    """Correlate each channel with a window ``(size,)`` along both axes, zeros beyond the border."""
    size, channels, weight = len(window), x.shape[1], window.to(x)
    rows = weight.view(1, 1, size, 1).expand(channels, 1, size, 1)
    columns = weight.view(1, 1, 1, size).expand(channels, 1, 1, size)
    down = conv2d(x, rows, padding=(padding, 0), groups=channels)
    return conv2d(down, columns, padding=(0, padding), groups=channels)


def noise(x: Tensor, seed: int) -> Tensor:
    """Gaussian noise with the mean and the standard deviation of each picture's channels.

    n = m_c + s_c z with z ~ N(0, 1) drawn once for a picture of that shape: the noise of a
    picture is the same in any batch, on any device and in any precision.

    Args:
        x: ``(N, C, H, W)``.
        seed: Of a generator of its own.

    Returns:
        Like x.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(x.shape[1:], generator=generator, dtype=torch.float64).to(x)
    deviation, mean = torch.std_mean(x, (2, 3), correction=0, keepdim=True)
    return mean + deviation * draw


def substrate(x: Tensor, baseline: Baseline, seed: int = 0) -> Tensor:
    """The picture that is left when every pixel has been taken away.

    Args:
        x: ``(N, C, H, W)`` in the network's (normalised) input space.
        baseline: ``zero`` (zero in that space), ``mean`` (each picture's channel means),
            ``blur`` (11x11, sigma 5), ``noise`` (Gaussian, with the mean and standard deviation
            of each picture's channels), or a tensor that broadcasts to x.
        seed: Of the noise.

    Returns:
        A tensor shaped like x.

    Raises:
        MetricInputError: If the baseline has no such name or does not broadcast to x.
    """
    if isinstance(baseline, Tensor):
        try:
            return baseline.detach().to(x).expand_as(x)
        except RuntimeError as error:
            raise MetricInputError(
                f"a baseline of shape {tuple(baseline.shape)} does not broadcast to "
                f"{tuple(x.shape)}."
            ) from error
    if baseline == "zero":
        return torch.zeros_like(x)
    if baseline == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    if baseline == "blur":
        return blur(x)
    if baseline == "noise":
        return noise(x, seed)
    raise MetricInputError(
        f"baseline={baseline!r} is unknown; choose zero, mean, blur or noise, or give a tensor."
    )
