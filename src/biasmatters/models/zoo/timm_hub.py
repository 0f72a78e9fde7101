"""timm's networks, with their weights from Hugging Face's hub."""

from __future__ import annotations

import re
from contextlib import redirect_stderr
from dataclasses import asdict
from io import StringIO
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

from biasmatters.models.errors import ModelOptionError, WeightsUnavailableError
from biasmatters.models.zoo.aside import aside
from biasmatters.models.zoo.card import Card
from biasmatters.models.zoo.checksum import checked
from biasmatters.models.zoo.known import TIMM, unknown
from biasmatters.models.zoo.packages import EXTRA, needed
from biasmatters.models.zoo.preprocessing import Preprocessing, is_interpolation
from biasmatters.models.zoo.pretrained import Pretrained

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

SAFE = ".safetensors"


def describe(name: str) -> Card:
    """What timm's own settings for the weights say; nothing is fetched.

    Classes of ImageNet-1k are named by timm's ``ImageNetInfo``, others by their number.

    Args:
        name: ``timm/NAME``, with or without the weights' tag.

    Raises:
        MissingPackageError: timm is not installed.
        UnknownNetworkError: timm has no such network with weights.
        ModelOptionError: It has no classes, or a preprocessing that is no resize of the shorter
            side with a square centre crop.
    """
    config = _config(name)
    return Card(
        name=name,
        preprocessing=_preprocessing(name, config),
        categories=_categories(name, config),
        origin=f"timm {config.architecture}.{config.tag}",
        note=f"Licence of the weights: {config.license}" if config.license else "",
    )


def load(name: str) -> Pretrained:
    """The network with the weights in the hub's cache, fetched to there if they are absent.

    Only safetensors are read. The hub's cache calls a file by its sha256 and links to it; that is
    compared. Where the cache has no links (some Windows systems) nothing can be compared.

    Args:
        name: ``timm/NAME``, with or without the weights' tag.

    Raises:
        MissingPackageError: timm is not installed.
        UnknownNetworkError: timm has no such network with weights.
        ModelOptionError: As for `describe`, or there are no safetensors of it.
        WeightsUnavailableError: The file is absent and cannot be fetched.
        DamagedWeightsError: The file is another.
    """
    card, config = describe(name), _config(name)
    import timm

    path = _fetched(name, config)
    blob = path.resolve()
    expected = blob.name if re.fullmatch("[0-9a-f]{64}", blob.name) else ""
    sha256 = checked(path, expected, f"Delete {blob}, then load {name} again")
    with aside():
        network = timm.create_model(
            name.removeprefix(TIMM), pretrained=True, pretrained_cfg_overlay={"file": str(path)}
        )
    return Pretrained(card, network.eval(), sha256, path)


def _config(name: str) -> PretrainedCfg:
    """Settings of timm's for a set of weights."""
    with needed("timm", name):
        import timm
    tagged = timm.list_models(pretrained=True)
    known = (*dict.fromkeys(full.partition(".")[0] for full in tagged), *tagged)
    short = name.removeprefix(TIMM)
    config = timm.get_pretrained_cfg(short) if short in known else None
    if config is None:
        raise unknown(name, (f"{TIMM}{one}" for one in known))
    return config


def _preprocessing(name: str, config: PretrainedCfg) -> Preprocessing:
    """As timm evaluates: the shorter side to ``floor(size / crop_pct)``, then the centre."""
    from timm.data.config import resolve_data_config

    plain = resolve_data_config(pretrained_cfg=asdict(config))  # type: ignore[no-untyped-call]
    _, height, width = plain["input_size"]
    mode, interpolation = plain["crop_mode"], plain["interpolation"]
    if mode != "center" or height != width or not is_interpolation(interpolation):
        raise ModelOptionError(
            f"{name} was evaluated on {height} x {width} pixels by '{mode}' with {interpolation} "
            "interpolation, which is no bilinear or bicubic resize of the shorter side with a "
            "square centre crop: choose another network."
        )
    resize = floor(height / plain["crop_pct"])
    return Preprocessing(
        resize, (height, width), interpolation, tuple(plain["mean"]), tuple(plain["std"])
    )


def _categories(name: str, config: PretrainedCfg) -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    if config.num_classes < 1:
        raise ModelOptionError(
            f"{name} gives features and no classes: choose one of timm's weights that were trained "
            "to classify, e.g. with a tag that ends in in1k."
        )
    if infer_imagenet_subset({"num_classes": config.num_classes}) != "imagenet-1k":
        return tuple(str(index) for index in range(config.num_classes))
    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(config.num_classes))


def _fetched(name: str, config: PretrainedCfg) -> Path:
    """The weights' file in the hub's cache; a cached one is used without asking the hub."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    file = config.hf_hub_filename or f"model{SAFE}"
    if not config.hf_hub_id or config.custom_load or not file.endswith(SAFE):
        raise _unsafe(name)
    repository, _, revision = config.hf_hub_id.partition("@")
    fetch = huggingface_hub.hf_hub_download
    try:
        return Path(fetch(repository, file, revision=revision or None, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        with redirect_stderr(StringIO()):
            return Path(fetch(repository, file, revision=revision or None))
    except OSError as error:
        absent = isinstance(error, EntryNotFoundError)
        if absent and not isinstance(error, LocalEntryNotFoundError):
            raise _unsafe(name) from error
        raise WeightsUnavailableError(
            f"The weights of {name} are not on this machine and cannot be fetched ({error}): run "
            f"`hf download {repository} {file}` where there is a web, put the folder "
            f"models--{repository.replace('/', '--')} that it makes into "
            f"{huggingface_hub.constants.HF_HUB_CACHE}, or choose another network; "
            f"efficientnet_lite0 needs no web ({EXTRA})."
        ) from error


def _unsafe(name: str) -> ModelOptionError:
    return ModelOptionError(
        f"timm knows of no safetensors of {name}, and pickles are not read: choose other weights "
        "of it; timm.list_models('NAME.*', pretrained=True) lists them."
    )
