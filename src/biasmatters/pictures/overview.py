"""The page and the table of all pictures of a request."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biasmatters.data.download import replacing
from biasmatters.pictures.request import Request
from biasmatters.reporting.gallery import Entry, Gallery, gallery_page
from biasmatters.reporting.labels import rule_name

COLUMNS = (
    "name",
    "picture",
    "network",
    "rule",
    "temperature",
    "class",
    "index",
    "probability",
    "output",
    "linear",
    "bias",
    "bias_share",
    "certificate",
    "residual",
)


def write_overview(
    request: Request, records: Sequence[Mapping[str, Any]], failures: Sequence[str]
) -> Path:
    """Write ``index.html`` and ``summary.csv``; returns the page.

    Args:
        request: What was asked for.
        records: Of the pictures that were explained.
        failures: What is wrong with the others.
    """
    with replacing(request.out / "summary.csv") as file:
        file.write(_table(records).encode())
    gallery = Gallery(
        title=f"{request.network} explained",
        subtitle=f"f = w·x + b of the class {request.target}, BBp {rule_name(request.rule)}, "
        f"T = {request.temperature:g}",
        entries=[_entry(record, request) for record in records],
        failures=failures,
    )
    page = request.out / "index.html"
    with replacing(page) as file:
        file.write(gallery_page(gallery).encode(errors="backslashreplace"))
    return page


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in records:
        target = record["class"]
        named = {"class": target["name"], **{k: target[k] for k in ("index", "probability")}}
        writer.writerow({**record, **named})
    return stream.getvalue()


def _entry(record: Mapping[str, Any], request: Request) -> Entry:
    figures: tuple[str, ...] = ()
    if "png" in request.formats:
        ends = ("png", "layers.png") if request.layers else ("png",)
        figures = tuple(f"{record['name']}.{end}" for end in ends)
    return Entry(
        name=record["name"],
        guess=record["class"]["name"],
        probability=record["class"]["probability"],
        output=record["output"],
        linear=record["linear"],
        bias=record["bias"],
        share=record["bias_share"],
        certificate=record["certificate"],
        residual=record["residual"],
        figures=figures,
    )
