"""The command line itself: commands, help, errors and exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import wirebay
from wirebay.cli import COMMANDS, main
from wirebay.cli.parser import Parser
from wirebay.errors import HostError, OptionError
from wirebay.options.grammar import OptionWarning

SOURCES = str(Path(wirebay.__path__[0]).parent)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], int]], None]:
    """Makes a function the body of `wirebay doctor`."""

    def put(body: Callable[[list[str]], int]) -> None:
        module = types.ModuleType("wirebay.cli.doctor")
        module.__dict__["run"] = body
        monkeypatch.setitem(sys.modules, "wirebay.cli.doctor", module)

    return put


Command = Callable[[Callable[[list[str]], int]], None]


def test_a_command_gets_its_arguments_and_gives_the_exit_status(command: Command) -> None:
    seen: list[list[str]] = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        return 7

    command(run)
    assert main(["doctor", "--json", "--", "-x"]) == 7
    assert seen == [["--json", "--", "-x"]]


@pytest.mark.parametrize(
    ("error", "status"), [(OptionError("option 'x' is wrong"), 2), (HostError("port 80 is in use"), 1)]
)
def test_an_error_is_one_sentence_and_its_exit_status(
    error: Exception, status: int, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(argv: list[str]) -> int:
        raise error

    command(run)
    assert main(["doctor"]) == status
    assert capsys.readouterr() == ("", f"wirebay: {error}\n")


def test_ctrl_c_ends_it_as_a_shell_expects(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: list[str]) -> int:
        raise KeyboardInterrupt

    command(run)
    assert main(["doctor"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_warning_of_ours_is_one_sentence_too(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: list[str]) -> int:
        warnings.simplefilter("always")
        warnings.warn("'x' is deprecated", OptionWarning, stacklevel=1)
        warnings.warn("'y' is deprecated", FutureWarning, stacklevel=1)
        return 0

    command(run)
    show = warnings.showwarning
    assert main(["doctor"]) == 0
    assert warnings.showwarning is show
    ours, *theirs = capsys.readouterr().err.splitlines()
    assert ours == "wirebay: warning: 'x' is deprecated"
    assert "FutureWarning: 'y' is deprecated" in theirs[0]


@pytest.mark.parametrize("spelling", ["--help", "-h", "help"])
def test_help_shows_every_command_with_an_example(spelling: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([spelling]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name}  " in text
        assert f"\n             wirebay {name}" in text


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "give a command: qemu, ns, serve, card, ctl or doctor ('wirebay --help' explains them)"),
        (["run"], "unknown command 'run'; the commands are qemu, ns, serve, card, ctl and doctor"),
        (["--verbose"], "unknown option '--verbose'; the commands are qemu, ns, serve, card, ctl and doctor"),
    ],
)
def test_an_unknown_command_is_refused(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert capsys.readouterr() == ("", f"wirebay: {sentence}\n")


def test_version_is_that_of_the_extension(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = types.ModuleType("wirebay._core")
    core.__dict__["__version__"] = "1.2.3"
    monkeypatch.setitem(sys.modules, "wirebay._core", core)
    monkeypatch.setattr(wirebay, "_core", core, raising=False)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "wirebay 1.2.3\n"


def test_a_wrong_argument_is_one_sentence_that_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser("doctor", usage="[--json]", description="Say what works.")
    parser.add_argument("--json", action="store_true")
    with pytest.raises(SystemExit) as leaving:
        parser.parse_args(["--js"])
    assert leaving.value.code == 2
    assert capsys.readouterr() == ("", "wirebay doctor: unrecognized arguments: --js\n")


def test_a_command_that_leaves_through_argparse_keeps_its_status(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(argv: list[str]) -> int:
        Parser("doctor", usage="", description="Say what works.").parse_args(argv)
        return 7

    command(run)
    assert main(["doctor", "--help"]) == 0
    assert "Say what works." in capsys.readouterr().out
    assert main(["doctor", "x"]) == 2


def wirebay_process(*arguments: str, stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wirebay", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )


def test_a_reader_that_has_left_is_no_reason_to_complain() -> None:
    read, write = os.pipe()
    os.close(read)
    run = wirebay_process("--help", stdout=write)
    os.close(write)
    assert (run.returncode, run.stderr) == (141, "")


def test_python_m_wirebay_is_the_command() -> None:
    run = wirebay_process("frobnicate", stdout=subprocess.PIPE)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("wirebay: unknown command 'frobnicate'")
