"""The console command: errors in one message, exit codes, nothing heavy for --help."""

import sys

import pytest

from biasmatters import cli
from biasmatters.types import BiasmattersError


def run(monkeypatch: pytest.MonkeyPatch, launch) -> int:
    monkeypatch.setattr("biasmatters.config.launch", launch)
    return cli.main()


def raising(error: BaseException):
    def launch(_) -> None:
        raise error

    return launch


def test_our_errors_are_one_message_and_exit_code_2(monkeypatch, capsys) -> None:
    assert run(monkeypatch, raising(BiasmattersError("do this instead"))) == 2
    assert capsys.readouterr().err == "biasmatters: do this instead\n"


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys) -> None:
    assert run(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, capsys) -> None:
    error = OSError(30, "Read-only file system", "/somewhere/runs")
    assert run(monkeypatch, raising(error)) == 2
    assert "/somewhere/runs: Read-only file system" in capsys.readouterr().err


def test_an_unexpected_error_is_not_hidden(monkeypatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, raising(ZeroDivisionError()))


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (2, 2), (None, 0)])
def test_exit_codes_of_hydra_are_passed_on(monkeypatch, code, expected) -> None:
    assert run(monkeypatch, raising(SystemExit(code))) == expected


def test_a_typo_is_one_message(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["biasmatters", "data.rot=3"])
    assert cli.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("biasmatters: there is no key data.rot. The nearest valid ones: ")
    assert "data.root" in error
    assert "Traceback" not in error


def test_help_reads_well(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["biasmatters", "--help"])
    assert cli.main() == 0
    text = capsys.readouterr().out
    for word in ("Examples", "experiment=reproduce_paper", "data.root", "Exit codes", "rule:"):
        assert word in text
    assert "$APP" not in text
    assert "_target_" not in text
