"""Every option of every command and netdev type is on its page, and every page is of one of them."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, commands
from wirebay.cards.models import MODELS
from wirebay.options import objects, passt, stream, tap, types
from wirebay.options.card import CardOptions
from wirebay.options.reader import OldReader
from wirebay.options.user import read_user

DOCS = ROOT / "docs"
COMMANDS = ("ns", "qemu", "serve", "card", "ctl", "doctor")
# An option begins its line, or follows another one there.
OPTION = re.compile(r"(?:^  |, )(--?[a-z0-9][a-z0-9-]*)", re.MULTILINE)
NETDEVS: dict[str, type] = {
    "bess": types.BessOptions,
    "bridge": types.BridgeOptions,
    "dgram": types.DgramOptions,
    "l2tpv3": types.L2tpv3Options,
    "socket": types.SocketOptions,
    "stdio": types.StdioOptions,
    "vde": types.VdeOptions,
    "vfkit": types.VfkitOptions,
    "vxlan": types.VxlanOptions,
    "stream": types.StreamOptions,
    "tap": types.TapOptions,
    "vhost-user": types.VhostUserOptions,
    "hubport": types.HubportOptions,
    "switchport": types.SwitchportOptions,
}
GROUPS = ("addr", "local", "remote")  # of options, by the names of types that have them
FILTERS: tuple[type, ...] = (
    objects.DumpOptions,
    objects.MirrorOptions,
    objects.RedirectorOptions,
    objects.BufferOptions,
)
ADDRESSES: tuple[type, ...] = (types.UnixAddr, types.InetAddr, types.FdAddr)
REFUSED = {
    "passt": (*passt.SERVED, *passt.NOT_SERVED),
    "tap": tap.NOT_SERVED,
    "stream": stream.NOT_SERVED_INET,
}


def code_words(page: Path) -> set[str]:
    """All words in the code spans of a page, apart at blanks, commas and equals signs."""
    return {
        word for span in re.findall(r"`([^`\n]+)`", page.read_text()) for word in re.split(r"[ ,=]", span)
    }


def fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_on_its_page(command: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "wirebay", command, "--help"], capture_output=True, text=True, check=True
    )
    options = set(OPTION.findall(run.stdout.partition("\noptions:\n")[2]))
    assert "--help" in options, "the help has no list of options"
    assert options - code_words(DOCS / f"cmd-{command}.md") == set()


class Recorder(OldReader):
    """Reads nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__([])
        self.names: set[str] = set()

    def _string(self, name: str) -> str | None:
        self.names.add(name)
        return super()._string(name)

    def _strings(self, name: str) -> list[str]:
        self.names.add(name)
        return super()._strings(name)


def options_of_user() -> set[str]:
    """Every option that `user` reads; some make up one field together, and some a list of them."""
    recorder = Recorder()
    read_user("u0", recorder)
    return recorder.names


def test_every_option_of_user_is_in_a_table_or_a_grammar_of_its_page() -> None:
    assert options_of_user() - code_words(DOCS / "netdev-user.md") == set()


def test_every_option_of_user_is_in_an_example_of_its_page() -> None:
    page = DOCS / "netdev-user.md"
    used = {
        option.partition("=")[0]
        for words in commands(page)
        for word in words
        if "user," in word
        for option in word.split(",")
    }
    assert options_of_user() - used == set()


@pytest.mark.parametrize("kind", NETDEVS)
def test_every_option_of_a_netdev_is_on_its_page(kind: str) -> None:
    names = fields(NETDEVS[kind]) - {"id"}
    groups = GROUPS if kind in ("stream", "dgram") else ()
    spelled = {f"{name}.type" if name in groups else name.replace("_", "-") for name in names}
    words = {word.replace("_", "-") for word in code_words(DOCS / f"netdev-{kind}.md")}
    assert spelled - words == set()


@pytest.mark.parametrize("kind", FILTERS, ids=lambda kind: str(kind.__name__))
def test_every_option_of_a_filter_is_on_the_page_of_filters(kind: type) -> None:
    names = fields(kind) - {"id", "behind"}
    words = {word.replace("-", "_") for word in code_words(DOCS / "filters.md")}
    assert names - words == set()


@pytest.mark.parametrize("kind", ADDRESSES, ids=lambda kind: str(kind.__name__))
def test_every_option_of_an_address_is_on_the_page_of_stream(kind: type) -> None:
    names = {"str" if name == "fd" else name.replace("_", "-") for name in fields(kind)}
    assert {f"addr.{name}" for name in names} - code_words(DOCS / "netdev-stream.md") == set()


@pytest.mark.parametrize("kind", REFUSED)
def test_every_option_refused_or_translated_is_on_the_page(kind: str) -> None:
    assert set(REFUSED[kind]) - code_words(DOCS / f"netdev-{kind}.md") == set()


def test_every_card_and_option_of_a_card_is_on_a_page() -> None:
    pages = set().union(*(code_words(page) for page in DOCS.glob("card-*.md")))
    assert set(MODELS) - pages == set()
    options = {field.name for field in dataclasses.fields(CardOptions)} - {"model"}
    assert options | set(MODELS) <= code_words(DOCS / "cmd-card.md")


def test_every_command_and_netdev_has_its_page_and_no_page_is_left_over() -> None:
    pages = {page.stem for page in [*DOCS.glob("cmd-*.md"), *DOCS.glob("netdev-*.md")]}
    assert pages == {f"cmd-{name}" for name in COMMANDS} | {
        f"netdev-{name}" for name in ("user", "passt", *NETDEVS)
    }
