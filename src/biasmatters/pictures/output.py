"""The files of one explained picture; its record is written last and says that all are there."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import save

from biasmatters.data.checksum import sha256_of
from biasmatters.data.download import replacing
from biasmatters.pictures.errors import PictureRequestError
from biasmatters.pictures.explainer import Explained
from biasmatters.pictures.gather import Item
from biasmatters.pictures.request import FIGURES, Request
from biasmatters.reporting.depths import depths_figure
from biasmatters.reporting.portrait import Portrait, portrait_figure
from biasmatters.reporting.style import pdf, png

# Raised whenever other results come from the same request.
VERSION = 2
# Says that a folder of results is ours.
MARK = ".biasmatters-explain"
Record = dict[str, Any]


def key_of(request: Request, weights: str, picture: Path) -> str:
    """sha256 over everything that a picture's results depend on.

    Args:
        request: What is asked for.
        weights: sha256 of the network's weights.
        picture: The file.
    """
    content = {"weights": weights, "picture": sha256_of(picture)}
    parts = {"version": VERSION, **content, **request.settings()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def files_of(item: Item, request: Request) -> dict[str, Path]:
    """Where the results of a picture go: by format, and ``layers.`` format for its layers."""
    ends = {name: name for name in request.formats}
    if request.layers:
        ends |= {f"layers.{name}": f"layers.{name}" for name in request.formats if name in FIGURES}
    return {kind: request.out / f"{item.name}.{end}" for kind, end in ends.items()}


def claim(items: Sequence[Item], request: Request) -> None:
    """Make the folder of results, unless something that is not ours would be lost there.

    Raises:
        PictureRequestError: A result would take the place of a picture that is to be explained, or
            of a file in a folder that this program did not make.
    """
    pictures = {item.path.resolve() for item in items}
    ours = (request.out / MARK).is_file()
    for item in items:
        for path in (record_of(item, request), *files_of(item, request).values()):
            if path.resolve() in pictures or (path.exists() and not ours):
                raise PictureRequestError(
                    f"{path} is there and a result would take its place: choose another folder "
                    f"for the results than {request.out}."
                )
    if ours:
        return
    request.out.mkdir(parents=True, exist_ok=True)
    (request.out / MARK).write_text("Results of biasmatters-explain, which may replace them.\n")


def record_of(item: Item, request: Request) -> Path:
    """Where the record of a picture goes."""
    return request.out / f"{item.name}.json"


def finished(item: Item, request: Request, key: str) -> Record | None:
    """The record of a picture whose results are all there and still right; else None."""
    try:
        record = json.loads(record_of(item, request).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("key") != key:
        return None
    return record if all(path.is_file() for path in files_of(item, request).values()) else None


def write(item: Item, request: Request, found: Explained, key: str) -> Record:
    """Write a picture's files, each whole or not at all, and its record last."""
    record = _record(item, request, found.portrait, key)
    for kind, path in files_of(item, request).items():
        with replacing(path) as file:
            file.write(_content(kind, found, record))
    with replacing(record_of(item, request)) as file:
        file.write((json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
    return record


def _content(kind: str, found: Explained, record: Mapping[str, Any]) -> bytes:
    if kind.startswith("layers.") and found.depths is not None:
        return _drawn(depths_figure(found.depths), kind)
    if kind in FIGURES:
        return _drawn(portrait_figure(found.portrait), kind)
    arrays = {"pixels": found.pixels, **found.maps}
    if kind == "safetensors":
        packed: bytes = save(
            {name: np.ascontiguousarray(values) for name, values in arrays.items()},
            metadata={"record": json.dumps(record, ensure_ascii=False)},
        )
        return packed
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub takes names for a switch
    return stream.getvalue()


def _drawn(figure: Figure, kind: str) -> bytes:
    return pdf(figure) if kind.endswith("pdf") else png(figure)


def _record(item: Item, request: Request, portrait: Portrait, key: str) -> Record:
    """Everything in numbers; where the picture lies stays out of it."""
    return {
        "key": key,
        "name": item.name,
        "picture": item.path.name,
        **request.settings(),
        "more": [extra.name for extra in request.more],
        "class": vars(portrait.target),
        "guesses": [vars(guess) for guess in portrait.guesses],
        "output": portrait.linear + portrait.bias,
        "linear": portrait.linear,
        "bias": portrait.bias,
        "bias_share": None if np.isnan(portrait.share) else portrait.share,
        "certificate": portrait.certificate,
        "residual": portrait.residual,
    }
