"""The versions and the machine that results were made with, for the report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = ("biasmatters", "torch", "torchvision", "pytorch-lightning", "captum", "numpy")


def environment() -> dict[str, str]:
    """Versions and machine, without names of users, hosts or folders."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["processors"] = str(os.cpu_count())
    found["threads"] = str(torch.get_num_threads())
    found["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return found
