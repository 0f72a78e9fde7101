"""The console command `biasmatters-explain`: light help, exit codes, errors in one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biasmatters import explain_cli, pictures, polite
from biasmatters.models import zoo
from biasmatters.polite import keep_memory, take_large_pages, wait_politely
from tests.pictures import tiny

LIGHT = """
import sys
import biasmatters
from biasmatters import explain_cli
assert biasmatters.__version__
assert set(biasmatters.__all__) <= set(dir(biasmatters))
try:
    explain_cli.main(["--help"])
except SystemExit as stop:
    assert stop.code == 0
heavy = {"torch", "numpy", "matplotlib", "hydra"} & set(sys.modules)
assert not heavy, heavy
assert biasmatters.rules.make_rule is biasmatters.make_rule
assert "torch" in sys.modules
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``tiny`` is a network of the zoo; no other that exists is loaded."""
    known, load = {"tiny": tiny.pretrained}, zoo.load
    monkeypatch.setattr(zoo, "load", lambda name: known.get(name, lambda: load(name))())
    monkeypatch.setattr("biasmatters.reporting.style.DPI", 30)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    common = ("--model", "tiny", "--format", "npz", "--device", "cpu")
    return explain_cli.main([*common, *arguments])


def test_help_and_import_load_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIGHT],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("PICTURE", "--layers", "top1 to top9", "Exit codes: 0 done"):
        assert word in done.stdout


def test_every_public_name_resolves() -> None:
    import biasmatters

    for name in biasmatters.__all__:
        assert getattr(biasmatters, name) is not None
    assert biasmatters.BiasBackprop is biasmatters.attribution.BiasBackprop
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        biasmatters.nonsense  # noqa: B018


def test_the_formats_are_those_of_the_library() -> None:
    assert explain_cli.FORMATS == pictures.FORMATS


def test_the_networks_are_listed(capsys) -> None:
    assert explain_cli.main(["--models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == list(zoo.names())
    assert lines[-1].startswith("timm/NAME")


def test_pictures_are_explained_and_the_page_is_named(capsys) -> None:
    tiny.picture(Path("cat.png"))
    assert run("cat.png", "--target", "sock", "--out", "there") == 0
    streams = capsys.readouterr()
    assert streams.out.startswith("1 explained (")
    assert streams.out.endswith(f": {Path('there/index.html')}\n")
    assert streams.err == ""
    assert Path("there/cat.npz").is_file()
    assert run("cat.png", "--target", "sock", "--out", "there") == 0
    assert "1 had their results already" in capsys.readouterr().out
    assert run("cat.png", "--target", "sock", "--out", "there", "--again") == 0
    assert "1 explained" in capsys.readouterr().out


def test_the_example_pictures(capsys) -> None:
    assert run("--example") == 0
    assert {path.stem for path in Path("explained").glob("*.npz")} == {
        "chelsea",
        "coffee",
        "rocket",
    }


def test_a_bad_picture_is_exit_code_4(capsys) -> None:
    tiny.picture(Path("cat.png"))
    Path("bad.png").write_bytes(b"none")
    assert run("bad.png", "cat.png") == 4
    streams = capsys.readouterr()
    assert streams.err.startswith("biasmatters-explain: left out: The picture bad.png cannot be")
    assert streams.err.count("\n") == 1
    assert "1 explained" in streams.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["Name pictures", "--example"]),
        (("cat.png", "--model", "resnet19"), ["no network 'resnet19'", "resnet18"]),
        (("cat.png", "--target", "tabbi"), ["'tabbi'", "tabby (0)"]),
        (("cat.png", "--target", "99"), ["target 99", "0 to 11"]),
        (("cat.png", "--method", "grad_kam"), ["attribution=grad_kam", "nearest", "grad_cam"]),
        (("cat.png", "--rule", "unifrom"), ["Unknown rule 'unifrom'", "uniform"]),
        (("cat.png", "--rule", "unifrom", "--method", "gradient"), ["rule=unifrom", "uniform"]),
        (("cat.png", "--temperature", "0"), ["temperature"]),
        (("cat.png", "--temperature", "-1", "--method", "gradient"), ["temperature"]),
        (("cat.png", "--format", "gif"), ["formats: gif", "safetensors"]),
        (("cat.png", "--layers"), ["add png or pdf"]),
        (("cat.png", "--device", "nonsense"), ["device nonsense"]),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(capsys, arguments, words) -> None:
    tiny.picture(Path("cat.png"))
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("biasmatters-explain: ")
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == [], error


def test_a_further_method_is_mapped_and_drawn(monkeypatch) -> None:
    drawn = []
    draw = pictures.run.write

    def write(item, request, found, key):
        drawn.append(list(found.portrait.maps))
        return draw(item, request, found, key)

    monkeypatch.setattr(pictures.run, "write", write)
    tiny.picture(Path("cat.png"))
    assert run("cat.png", "--method", "grad_cam,bbp", "--temperature", "0.5") == 0
    assert drawn[0][-1] == "Grad-CAM"
    assert len(drawn[0]) == 5
    assert "T=0.5" in drawn[0][2]
    with np.load("explained/cat.npz") as maps:
        assert "grad_cam" in maps.files


def raising(monkeypatch, error: BaseException) -> None:
    def explain_pictures(request) -> None:
        raise error

    monkeypatch.setattr(pictures, "explain_pictures", explain_pictures)


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert run("cat.png") == 130
    error = "biasmatters-explain: stopped; run the same command again to go on\n"
    assert capsys.readouterr().err == error


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, capsys) -> None:
    tiny.picture(Path("cat.png"))
    Path("file").touch()
    assert run("cat.png", "--out", "file/below") == 2
    assert capsys.readouterr().err.count("\n") == 1
    raising(monkeypatch, OSError(28, "No space left on device", "explained/cat.npz"))
    assert run("cat.png") == 2
    assert "explained/cat.npz: No space left on device" in capsys.readouterr().err


def test_an_unexpected_error_is_not_hidden(monkeypatch) -> None:
    for error in (ZeroDivisionError(), OSError("nothing named")):
        raising(monkeypatch, error)
        with pytest.raises(type(error)):
            run("cat.png")


@pytest.mark.parametrize(
    ("ask", "name", "ours", "theirs"),
    [
        (wait_politely, "OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"),
        (wait_politely, "GOMP_SPINCOUNT", "1000", "7"),
        (take_large_pages, "THP_MEM_ALLOC_ENABLE", "1", "0"),
    ],
)
def test_threads_sleep_and_pages_are_large_unless_someone_chose_otherwise(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], None], name: str, ours: str, theirs: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv(name, theirs)
    ask()
    assert os.environ[name] == theirs
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv(name, raising=False)
    ask()
    assert os.environ[name] == ours
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv(name, raising=False)
    assert explain_cli.main(["--models"]) == 0
    assert os.environ[name] == ours


@pytest.mark.parametrize(("policy", "rounds"), [("passive", "1000"), ("ACTIVE", None)])
def test_rounds_are_those_of_threads_that_sleep(
    policy: str, rounds: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    wait_politely()
    assert os.environ.get("GOMP_SPINCOUNT") == rounds


class Malloc:
    """Stands for the C library, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.asked.append((parameter, value))
        return 1


@pytest.mark.parametrize(
    ("library", "chosen", "asked"),
    [
        ("glibc", "", [(-4, 0), (-1, 2**31 - 1)]),
        ("glibc", "MALLOC_MMAP_MAX_", []),
        ("glibc", "MALLOC_TRIM_THRESHOLD_", []),
        ("glibc", "GLIBC_TUNABLES", []),
        ("musl", "", []),
    ],
)
def test_freed_memory_is_kept_where_glibc_has_no_other_orders(
    monkeypatch: pytest.MonkeyPatch, library: str, chosen: str, asked: list[tuple[int, int]]
) -> None:
    for name in ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv(chosen, "65536")
    malloc = Malloc()
    monkeypatch.setattr(polite.platform, "libc_ver", lambda: (library, "2"))
    monkeypatch.setattr(polite.ctypes, "CDLL", lambda _: malloc)
    keep_memory()
    assert malloc.asked == asked
