"""Which models are in the zoo, as ``library/name``."""

from __future__ import annotations

import fnmatch

import torchvision  # type: ignore[import-untyped]

TIMM = (
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "coat_lite_tiny",
    "convmixer_768_32",
    "convnextv2_atto",
    "deit_tiny_patch16_224",
    "densenetblur121d",
    "dla46_c",
    "dpn48b",
    "eca_nfnet_l0",
    "edgenext_xx_small",
    "efficientnet_lite0",
    "ghostnet_050",
    "gmlp_ti16_224",
    "hrnet_w18_small",
    "legacy_seresnet18",
    "levit_128s",
    "mixer_s32_224",
    "mobilenetv4_conv_small",
    "pit_ti_224",
    "poolformer_s12",
    "regnetx_002",
    "repvgg_a0",
    "res2net50_26w_4s",
    "resnest14d",
    "resnet26d",
    "selecsls42",
    "swin_tiny_patch4_window7_224",
    "tresnet_m",
    "xcit_nano_12_p16_224",
)


def catalogue() -> list[str]:
    """Every classification model of torchvision, and timm models of 30 families."""
    vision = torchvision.models.list_models(module=torchvision.models)
    return [f"torchvision/{name}" for name in vision] + [f"timm/{name}" for name in TIMM]


def pick(names: list[str], pattern: str | None) -> list[str]:
    """The names that match a shell pattern, with or without the library."""
    if pattern is None:
        return names
    return [
        name
        for name in names
        if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name.split("/")[1], pattern)
    ]
