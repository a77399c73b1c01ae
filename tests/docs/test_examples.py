"""The examples of the documentation are taken by the commands they name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, commands, name_of
from wirebay.cli import ns, serve
from wirebay.options.netdev import parse_netdev

EXAMPLES = [(name_of(page), words) for page in PAGES for words in commands(page)]
PYTHON = [(name_of(page), block) for page in PAGES for block in blocks(page, "python")]


def test_the_readme_shows_every_command() -> None:
    assert {words[1] for page, words in EXAMPLES if page == "README.md"} == {"ns", "qemu", "serve", "doctor"}


@pytest.mark.parametrize(("page", "words"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_an_example_is_taken_by_its_command(page: str, words: list[str]) -> None:
    _, command, *arguments = words
    match command:
        case "ns":
            ns.user_options(ns.parse(arguments))
        case "serve":
            parsed = serve.make_parser().parse_args(arguments)
            assert serve.plan([parse_netdev(text) for text in parsed.netdev])
        case "qemu":
            dry = arguments if "-n" in arguments else ["-n", *arguments]
            shown = subprocess.run(
                [sys.executable, "-m", "wirebay", "qemu", *dry], capture_output=True, text=True, check=True
            )
            assert "-netdev stream," in shown.stdout
            assert "user," not in shown.stdout
        case _:
            assert (command, arguments) == ("doctor", [])


def test_the_python_example_runs_until_something_ends_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pass
