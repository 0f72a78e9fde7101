"""Networks with piecewise-linear activations; each with a switch for its biases."""

from biasmatters.models.activations import ACTIVATIONS, make_activation
from biasmatters.models.cifar_vgg import CifarVGG
from biasmatters.models.cnn import CNN
from biasmatters.models.convnet import ConvNet, ConvPlan
from biasmatters.models.errors import ModelOptionError
from biasmatters.models.mlp import MLP
from biasmatters.models.sixt_cifar_net import SixtCifarNet
from biasmatters.models.stl10_net import STL10Net
from biasmatters.models.vgg11 import VGG11

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "MLP",
    "VGG11",
    "CifarVGG",
    "ConvNet",
    "ConvPlan",
    "ModelOptionError",
    "STL10Net",
    "SixtCifarNet",
    "make_activation",
]
