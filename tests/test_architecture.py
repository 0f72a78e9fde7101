"""The rooms: a planted wrong import is found, and the library loads nothing heavy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "pytorch_lightning",
    "lightning",
    "hydra",
    "omegaconf",
    "wandb",
    "matplotlib",
    "pandas",
    "captum",
    "skimage",
    "torchvision",
    "numba",
    "triton",
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("rules", "import biasmatters.data"),
        ("stages", "import hydra"),
        ("training", "import wandb"),
        ("affine", "from biasmatters import models"),
        ("kernels", "from biasmatters import affine"),
        ("reporting", "import torch"),
    ],
)
def test_a_planted_wrong_import_fails(copy: Path, room: str, line: str) -> None:
    (copy / "src" / "biasmatters" / room / "planted.py").write_text(f'"""Planted."""\n\n{line}\n')
    found = lint(copy)
    assert found.returncode != 0
    assert f"biasmatters.{room}.planted" in found.stdout


def test_the_rooms_are_clean(copy: Path) -> None:
    found = lint(copy)
    assert found.returncode == 0, found.stdout


def test_every_room_has_a_contract() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    package = ROOT / "src" / "biasmatters"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    rooms |= {path.stem for path in package.glob("*.py")} - {"__init__"}
    for room in rooms:
        assert f'source_modules = ["biasmatters.{room}"]' in text, room


def test_the_library_loads_nothing_heavy() -> None:
    rooms = "".join(f", biasmatters.{room}" for room in ("types", "affine", "rules", "attribution"))
    code = f"import sys, biasmatters{rooms}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_experiments_are_short_and_never_imported() -> None:
    for path in (ROOT / "experiments").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import experiments" not in text
        assert "from experiments" not in text
