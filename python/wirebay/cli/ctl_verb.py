"""What the commands of `wirebay ctl` have in common, and how they print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wirebay.cli.parser import Parser
from wirebay.control.client import Client

__all__ = ["Verb", "add_json_option", "print_columns", "print_json", "printable"]


def no_arguments(parser: Parser) -> None:
    """For a command that takes none of its own."""
    del parser


def no_check(parser: Parser, arguments: argparse.Namespace) -> None:
    """For a command whose arguments argparse checks well enough."""
    del parser, arguments


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: its name, how it is used, what it is for, its arguments, what it does.

    `check` leaves by `parser.error` for what argparse cannot know; `run` returns the exit status.
    """

    name: str
    usage: str
    purpose: str
    run: Callable[[Client, argparse.Namespace], int]
    add_arguments: Callable[[Parser], None] = no_arguments
    check: Callable[[Parser, argparse.Namespace], None] = no_check


def add_json_option(parser: Parser) -> None:
    """The option `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def print_json(value: object) -> None:
    """Print a result for programs."""
    print(json.dumps(value, indent=2))


def print_columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table for people; numbers stand to the right."""
    table = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(head))]
    for line in table:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(cells).rstrip())


def printable(value: object) -> str:
    """A value for a terminal, without what could steer it: some of it comes from guests."""
    text = "-" if value is None else str(value)
    return "".join(sign if sign.isprintable() else "?" for sign in text)
