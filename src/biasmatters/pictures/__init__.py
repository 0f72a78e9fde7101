"""Explain photographs with networks that people know: files in, figures and maps out."""

from biasmatters.models.zoo import names as network_names
from biasmatters.pictures.errors import PictureRequestError
from biasmatters.pictures.example import example_pictures
from biasmatters.pictures.request import FORMATS, Extra, Request
from biasmatters.pictures.run import Summary, explain_pictures

__all__ = [
    "FORMATS",
    "Extra",
    "PictureRequestError",
    "Request",
    "Summary",
    "example_pictures",
    "explain_pictures",
    "network_names",
]
