"""Data sets: where they come from, checksums, normalisation, held-out images and subsets."""

from biasmatters.data.base import ImageSet
from biasmatters.data.cifar import CIFAR10, CIFAR100
from biasmatters.data.errors import (
    ChecksumError,
    DataNotFoundError,
    InvalidDataOptionError,
    UnreadableImageError,
)
from biasmatters.data.fashion_mnist import FashionMNIST
from biasmatters.data.imagefolder import ImageFolderData
from biasmatters.data.imagenet import ImageNetData
from biasmatters.data.images import Batch, ImageData, TensorImages, collate
from biasmatters.data.mnist import MNIST
from biasmatters.data.normalization import NORMALIZATIONS, Normalization
from biasmatters.data.photograph import prepare_photograph, read_photograph
from biasmatters.data.shapes import Shapes
from biasmatters.data.stl10 import STL10

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "NORMALIZATIONS",
    "STL10",
    "Batch",
    "ChecksumError",
    "DataNotFoundError",
    "FashionMNIST",
    "ImageData",
    "ImageFolderData",
    "ImageNetData",
    "ImageSet",
    "InvalidDataOptionError",
    "Normalization",
    "Shapes",
    "TensorImages",
    "UnreadableImageError",
    "collate",
    "prepare_photograph",
    "read_photograph",
]
