"""The IDX format of the MNIST family."""

from __future__ import annotations

import math
import struct

import numpy as np
import torch
from torch import Tensor

from biasmatters.types import BiasmattersError

_UNSIGNED_BYTE = 0x08


class IdxFormatError(BiasmattersError):
    """Bytes that are no IDX array of unsigned bytes."""


def parse_idx(data: bytes) -> Tensor:
    """Decode an IDX array of unsigned bytes.

    The format: two zero bytes, the type, the number of dimensions, each dimension as a
    big-endian 32-bit integer, then the values (Y. LeCun, C. Cortes, C. Burges, MNIST page).

    Returns:
        The array, uint8, in its own shape.

    Raises:
        IdxFormatError: If the header or the length is wrong.
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UNSIGNED_BYTE:
        raise IdxFormatError("Not an IDX file of unsigned bytes; fetch the file again.")
    rank = data[3]
    start = 4 + 4 * rank
    if len(data) < start:
        raise IdxFormatError("The IDX file ends within its header; fetch the file again.")
    shape = struct.unpack(f">{rank}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise IdxFormatError(
            f"The IDX header promises {math.prod(shape)} values and {len(data) - start} follow; "
            "fetch the file again."
        )
    values = np.frombuffer(data, dtype=np.uint8, offset=start).copy()
    return torch.from_numpy(values.reshape(shape))
