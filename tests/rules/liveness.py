"""Which units a rule handed out for, whichever way it says so."""

import torch
from torch import Tensor

from biasmatters.affine.mixing import Lost


def live_of(said: Tensor | Lost, tau: Tensor) -> Tensor:
    """1 where bias was handed out, 0 elsewhere, like tau (whose entries are not 0)."""
    if not isinstance(said, Lost):
        return said
    return torch.ones_like(tau) if said.tau is None else (said.tau == 0).to(tau.dtype)
