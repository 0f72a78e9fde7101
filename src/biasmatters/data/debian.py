"""Files of Debian packages: installed ones, or fetched and unpacked without root."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 180
_NETWORK = ("-q", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=1")


class PackageError(Exception):
    """A package cannot be had; the text says why."""


def installed_files(package: str) -> list[Path]:
    """The files of an installed package, as ``dpkg -L`` lists them.

    Raises:
        PackageError: If it is not installed, or if this is no Debian-family machine.
    """
    listing = _run(["dpkg", "-L", package])
    return [path for line in listing.splitlines() if (path := Path(line)).is_file()]


def fetch_package(package: str, folder: Path) -> list[Path]:
    """Download a package and unpack it under ``folder``, without root and installing nothing.

    Tries the machine's package lists first, and lists of its own if there are none.

    Raises:
        PackageError: If it cannot be downloaded or unpacked.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackageError(f"{tool} is not on this machine")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = _download(package, Path(scratch))
        _run(["dpkg-deb", "-x", str(archive), str(folder)])
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _download(package: str, scratch: Path) -> Path:
    try:
        _run(["apt-get", *_NETWORK, "download", package], scratch)
    except PackageError:
        private = _private_lists(scratch / "apt")
        _run(["apt-get", *_NETWORK, *private, "update"], scratch)
        _run(["apt-get", *_NETWORK, *private, "download", package], scratch)
    archives = sorted(scratch.glob(f"{package}_*.deb"))
    if not archives:
        raise PackageError(f"apt-get download {package} left no package behind")
    return archives[0]


def _private_lists(folder: Path) -> list[str]:
    """Options that make apt keep its lists in a folder of ours, so that it needs no root."""
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "archives" / "partial").mkdir(parents=True)
    options = (
        f"Dir::State={folder}",
        f"Dir::Cache={folder}",
        "Dir::State::status=/var/lib/dpkg/status",
        "APT::Sandbox::User=",
    )
    return [part for option in options for part in ("-o", option)]


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - every command is written in this file
            command,
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise PackageError(f"{command[0]} is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"{command[0]} took more than {_SECONDS} s") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PackageError(f"{command[0]}: {words[-1]}")
    return done.stdout
