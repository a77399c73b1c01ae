"""The examples of the documentation are taken by the commands they name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.processes import tree, wait_until
from tests.docs.pages import PAGES, blocks, commands, name_of
from tests.guests.console import Console
from wirebay.cards.models import card_class
from wirebay.cli import COMMANDS, card, ctl, ns_options, serve
from wirebay.cli.completion import SHELLS
from wirebay.cli.control import control_path
from wirebay.config.file import parse_config
from wirebay.options.card import parse_card
from wirebay.options.netdev import parse_netdev

EXAMPLES = [(name_of(page), words) for page in PAGES for words in commands(page)]
TOML = [(name_of(page), block) for page in PAGES for block in blocks(page, "toml")]
PYTHON = [(name_of(page), block) for page in PAGES for block in blocks(page, "python")]


def test_the_readme_shows_every_command() -> None:
    assert {words[1] for page, words in EXAMPLES if page == "README.md"} == set(COMMANDS)


@pytest.mark.parametrize(
    ("page", "words"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_example_is_taken_by_its_command(page: str, words: list[str]) -> None:
    _, command, *arguments = words
    match command:
        case "ns":
            ns_options.user_options(ns_options.parse(arguments))
        case "serve":
            parsed = serve.make_parser().parse_args(arguments)
            whole = serve.describe(parsed)
            assert whole.netdevs or parsed.config or parsed.schema
            control_path(parsed.control, parsed.qmp)
        case "card":
            parsed = card.parse(arguments)
            assert card_class(parse_card(parsed.card).model)
            parse_netdev(parsed.netdev)
        case "ctl" if arguments[0] != ctl.COMPLETION:
            ctl.parse(arguments)
        case "ctl":
            assert arguments[1] in SHELLS
        case "qemu":
            dry = arguments if "-n" in arguments else ["-n", *arguments]
            shown = subprocess.run(
                [sys.executable, "-m", "wirebay", "qemu", *dry], capture_output=True, text=True, check=True
            )
            assert "-netdev stream," in shown.stdout
            assert "user," not in shown.stdout
        case _:
            assert (command, arguments) == ("doctor", [])


@pytest.mark.parametrize(("page", "text"), TOML, ids=lambda value: value if value.endswith(".md") else "")
def test_a_file_of_the_documentation_has_no_mistake(page: str, text: str) -> None:
    assert parse_config(text, page).whole.netdevs


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=lambda value: value if value.endswith(".md") else "")
def test_the_python_example_serves_until_its_worker_ends(page: str, code: str, tmp_path: Path) -> None:
    free_port = code.replace("127.0.0.1:2222", "127.0.0.1:0")
    with Console([sys.executable, "-c", free_port], cwd=tmp_path) as console:
        wait_until((tmp_path / "vm0.sock").exists, "the socket of the example")
        (worker,) = tree(console.process.pid)[1:]
        os.kill(worker, signal.SIGKILL)
        console.line("the packet worker")
        assert console.finish() == 0
