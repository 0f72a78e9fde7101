"""torchvision's classification networks, with the weights that torchvision recommends."""

from __future__ import annotations

import re
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from biasmatters.models.errors import (
    DamagedWeightsError,
    ModelOptionError,
    WeightsUnavailableError,
)
from biasmatters.models.zoo.aside import aside
from biasmatters.models.zoo.card import Card
from biasmatters.models.zoo.checksum import checked
from biasmatters.models.zoo.known import names, unknown
from biasmatters.models.zoo.packages import EXTRA
from biasmatters.models.zoo.preprocessing import Preprocessing, is_interpolation
from biasmatters.models.zoo.pretrained import Pretrained

NO_WEB = f"efficientnet_lite0 needs no web ({EXTRA})"


def describe(name: str) -> Card:
    """What the metadata of torchvision's recommended weights (``DEFAULT``) say.

    Raises:
        UnknownNetworkError: torchvision has no such classification network.
    """
    weights = _weights(name)
    licence = weights.meta.get("license")
    return Card(
        name=name,
        preprocessing=_preprocessing(name, weights.transforms()),
        categories=tuple(weights.meta["categories"]),
        origin=f"torchvision {weights}",
        note=f"Licence of the weights: {licence}" if licence else "",
    )


def load(name: str) -> Pretrained:
    """The network with the weights in torch.hub's folder, fetched to there if they are absent.

    The name of torchvision's file ends with the beginning of its sha256 (8 digits or more), which
    is checked here for a cached file as well. Only tensors are unpickled.

    Raises:
        UnknownNetworkError: torchvision has no such classification network.
        WeightsUnavailableError: The file is absent and cannot be fetched.
        DamagedWeightsError: The file is another.
    """
    from torchvision.models import get_model  # type: ignore[import-untyped]

    weights = _weights(name)
    path, sha256 = _fetched(name, weights.url)
    with aside():
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = get_model(name, weights=_holding(weights, state))
    return Pretrained(describe(name), network.eval(), sha256, path)


def _weights(name: str) -> Any:
    """The set that torchvision recommends."""
    from torchvision import models  # type: ignore[import-untyped]

    known = models.list_models(module=models)
    if name not in known:
        raise unknown(name, (*names(), *known))
    return models.get_model_weights(name).DEFAULT


def _preprocessing(name: str, preset: Any) -> Preprocessing:
    """From torchvision's ``ImageClassification`` preset: square crops, the shorter side resized."""
    (resize,), (crop,) = preset.resize_size, preset.crop_size
    interpolation = preset.interpolation.value
    if not is_interpolation(interpolation):
        raise ModelOptionError(
            f"{name} is resized by {interpolation}, which is neither bilinear nor bicubic: choose "
            "another network."
        )
    return Preprocessing(resize, (crop, crop), interpolation, tuple(preset.mean), tuple(preset.std))


def _fetched(name: str, url: str) -> tuple[Path, str]:
    """The file of a set of weights in torch.hub's folder, and its sha256."""
    file = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", file)
    if found is None:
        raise ModelOptionError(
            f"torchvision's {file} has no checksum in its name, so it cannot be checked: choose "
            f"another network than {name}."
        )
    if not path.exists():
        _download(name, url, path, found[1])
    return path, checked(path, found[1], f"Delete it, then load {name} again or put {url} there")


def _download(name: str, url: str, path: Path, digits: str) -> None:
    """Fetch a file; it is put in its place only if its sha256 begins with ``digits``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), digits, progress=False)
    except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
        raise WeightsUnavailableError(
            f"The weights of {name} are not on this machine and {url} cannot be reached ({error}): "
            f"put {path.name} into {path.parent}, or choose another network; {NO_WEB}."
        ) from error
    except RuntimeError as error:
        raise DamagedWeightsError(
            f"What {url} sent is damaged ({error}) and was not kept: try again, or put an intact "
            f"{path.name} into {path.parent}."
        ) from error


def _holding(weights: Any, state: dict[str, torch.Tensor]) -> Any:
    """A set of weights whose tensors have been read already.

    torchvision's builders make the network after the metadata of its weights (GoogLeNet's input
    transform, the picture size of a transformer) and rename old keys; but they read a cached file
    unchecked, and unpickle whatever is in it. So they get an equal member of the enumeration that
    answers with the checked tensors; torchvision's own is left alone.
    """
    member: Any = object.__new__(type(weights))
    member._name_, member._value_ = weights.name, weights.value
    member.get_state_dict = lambda **_: state
    return member
