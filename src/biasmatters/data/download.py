"""Fetch one file from the web, whole or not at all."""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from biasmatters.data.progress import progress_bar

TIMEOUT_SECONDS = 10.0
_BLOCK = 1 << 18


def download(url: str, target: Path) -> None:
    """Save what a URL serves as ``target``, by way of a temporary file in the same folder.

    Raises:
        OSError: If the host does not answer in time, the transfer breaks off, or the target
            cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url} is no web address")
    request = urllib.request.Request(url, headers={"User-Agent": "biasmatters"})  # noqa: S310
    try:
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response,  # noqa: S310
            replacing(target) as file,
        ):
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            done = _copy(response, file, f"fetching {target.name}", total)
            if total is not None and done != total:
                raise OSError(f"the transfer broke off after {done} of {total} bytes")
    except http.client.HTTPException as error:
        raise OSError(f"the host answered nonsense ({error!r})") from error


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A temporary file that takes the place of ``target`` if the block ends without error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp makes a file that nobody else may read
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _copy(source: IO[bytes], file: IO[bytes], what: str, total: int | None) -> int:
    done = 0
    with progress_bar(in_bytes=True) as bar:
        task = bar.add_task(what, total=total)
        while block := source.read(_BLOCK):
            file.write(block)
            done += len(block)
            bar.advance(task, len(block))
    return done
