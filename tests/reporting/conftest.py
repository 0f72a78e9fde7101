"""The invented content, from ``demo.py`` beside this file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from biasmatters.reporting import ReportContent


@pytest.fixture(scope="session")
def demo() -> ModuleType:
    path = Path(__file__).with_name("demo.py")
    spec = importlib.util.spec_from_file_location("biasmatters_reporting_demo", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def content(demo: ModuleType) -> ReportContent:
    made: ReportContent = demo.content()
    return made
