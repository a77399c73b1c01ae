"""What can be typed behind each command, asked of their parsers."""

from __future__ import annotations

import importlib

from wirebay.cli import COMMANDS
from wirebay.cli.completion import SHELLS, Words, words_of
from wirebay.cli.ctl import COMPLETION, VERBS, make_inner_parser

__all__ = ["all_words"]


def all_words() -> dict[str, Words]:
    """By command: "" for what comes first, `serve`, `ctl`, `ctl flows` and so on."""
    first = dict.fromkeys((*COMMANDS, "--help", "--version"), "")
    found = {"": Words(first, {})}
    for name in COMMANDS:
        parser = importlib.import_module(f"wirebay.cli.{name}").make_parser()
        verbs = [(verb.name, verb.purpose) for verb in VERBS.values()] if name == "ctl" else []
        found[name] = words_of(parser, [*verbs, *([(COMPLETION, "for a shell")] if verbs else [])])
    for verb in VERBS.values():
        found[f"ctl {verb.name}"] = words_of(make_inner_parser(verb))
    found[f"ctl {COMPLETION}"] = Words(dict.fromkeys(SHELLS, ""), {})
    return found
