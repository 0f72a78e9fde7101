"""Networks: made the same way in every stage, stored as safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from biasmatters.data.images import ImageData
from biasmatters.stages.files import write_bytes
from biasmatters.stages.spec import Part

WEIGHTS = "weights.safetensors"


def new_network(model: Part, data: ImageData, bias: bool, seed: int) -> nn.Module:
    """An untrained network for a data set; the global generator comes back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = model.make(
            in_channels=data.channels,
            image_size=data.size,
            num_classes=len(data.classes),
            bias=bias,
        )
    return network


def save_network(network: nn.Module, folder: Path) -> None:
    """Write the weights."""
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, save(state))


def trained_network(model: Part, data: ImageData, bias: bool, seed: int, folder: Path) -> nn.Module:
    """The network that a train stage left in ``folder``, in eval mode."""
    network = new_network(model, data, bias, seed)
    network.load_state_dict(load_file(folder / WEIGHTS))
    return network.eval()


def device_of(accelerator: str) -> torch.device:
    """The device that Lightning's ``accelerator`` would choose, for work outside a trainer."""
    if accelerator == "cpu" or not torch.accelerator.is_available():
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator()
    return found if found is not None else torch.device("cpu")
