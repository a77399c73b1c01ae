"""What shells offer behind `wirebay`: all that the parsers take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from wirebay.cli import COMMANDS, main
from wirebay.cli.completion import SHELLS, Words, bash, fish, zsh
from wirebay.cli.completion_words import all_words
from wirebay.cli.ctl import VERBS

TRY = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_wirebay
printf "%s\\n" "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "wirebay.bash"
    path.write_text(bash(all_words()))
    return path


def offered(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    run = subprocess.run(
        ["bash", "-c", TRY, "bash", str(script), *words], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wirebay se", ["serve"]),
        ("wirebay serve --log", ["--log-level"]),
        ("wirebay serve --log-level ", ["error", "warning", "info", "debug"]),
        ("wirebay serve --config x", []),
        ("wirebay ctl fl", ["flows"]),
        ("wirebay ctl --socket lab.sock forwards a", ["add"]),
        ("wirebay ctl flows --j", ["--json"]),
        ("wirebay ctl completion ", ["bash", "zsh", "fish"]),
        ("wirebay ns --host-loopback o", ["on", "off"]),
    ],
)
def test_bash_offers_what_may_follow(script: Path, line: str, expected: list[str]) -> None:
    assert offered(script, *line.split(" ")) == expected


def test_every_command_and_every_verb_is_there(script: Path) -> None:
    assert set(COMMANDS) <= set(offered(script, "wirebay", ""))
    assert {*VERBS, "completion"} <= set(offered(script, "wirebay", "ctl", ""))


def test_every_option_has_its_purpose() -> None:
    for name, words in all_words().items():
        told = {word for word, purpose in words.purposes.items() if purpose}
        assert {word for word in words.purposes if word.startswith("-")} - told <= {"--help", "--version"}, (
            name
        )


WILD = {
    "": Words({"a": 'it\'s "wild": $(x) `y` \\'}, {}),
    "a": Words({"--b": "", "-c": "'"}, {"--b": ("x", "y")}),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_purposes_cannot_break_a_script(shell: str, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(SHELLS[shell](WILD))
    assert "$(x)" not in path.read_text()
    if shutil.which(shell):  # bash always; the others where somebody uses them
        subprocess.run([shell, "-n", str(path)], check=True)


def test_zsh_and_fish_get_each_word_with_its_purpose() -> None:
    words = {
        "": Words({"serve": "run"}, {}),
        "serve": Words({"--x": "an x", "-netdev": "a port"}, {"--x": ()}),
    }
    assert "offered=(serve:run)" in zsh(words)
    assert "--x) _files; return ;;" in zsh(words)
    assert "complete -c wirebay -n 'not __fish_seen_subcommand_from serve' -f -a serve -d run\n" in fish(
        words
    )
    assert "complete -c wirebay -n '__fish_seen_subcommand_from serve' -l x -r -d 'an x'\n" in fish(words)
    assert "-o netdev -d 'a port'\n" in fish(words)


def test_the_command_needs_no_running_wirebay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ctl", "completion", "bash"]) == 0
    assert capsys.readouterr().out == bash(all_words())
    assert main(["ctl", "completion", "csh"]) == 2
