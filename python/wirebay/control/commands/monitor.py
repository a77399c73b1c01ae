"""human-monitor-command: QEMU's commands for people, in its words, as far as they concern networks.

As in QEMU the answer is text, with what went wrong in it, and the lines end in CR LF. A command line is its
words apart at blanks; quotes mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from wirebay.control.commands.forwards import user_ports
from wirebay.control.commands.monitor_text import network_text, usernet_text
from wirebay.control.table import Command, Context
from wirebay.errors import OptionError, WirebayError
from wirebay.network import Network
from wirebay.ports.user import UserPort

__all__ = ["COMMANDS"]

# `[tcp|udp]:[hostaddr]:hostport`, with an address in any of the forms that rules may have.
_ENDPOINT = re.compile(r"(|tcp|udp):(\[[^]]*\])?[^:]*:[0-9.]+|unix:.+")


class _Refusal(Exception):
    """The sentence that is the answer."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A command for people: how it is used, what it does, the numbers of words it takes, the function."""

    usage: str
    purpose: str
    words: range
    run: Callable[[Network, Sequence[str]], Awaitable[str]]


async def info_network(network: Network, words: Sequence[str]) -> str:
    """`info network`."""
    del words
    return network_text(network)


async def info_usernet(network: Network, words: Sequence[str]) -> str:
    """`info usernet`."""
    del words
    return usernet_text(user_ports(network))


async def hostfwd_add(network: Network, words: Sequence[str]) -> str:
    """`hostfwd_add [netdev_id] RULE`."""
    await find_stack(network, words).add_forward(words[-1])
    return ""


async def hostfwd_remove(network: Network, words: Sequence[str]) -> str:
    """`hostfwd_remove [netdev_id] [tcp|udp]:[hostaddr]:hostport`."""
    rule, port = words[-1], find_stack(network, words)
    if not _ENDPOINT.fullmatch(rule):
        refuse("invalid format")
    try:
        await port.remove_forward(rule)
    except OptionError:
        return f"host forwarding rule for {rule} not found\n"
    return f"host forwarding rule for {rule} removed\n"


def find_stack(network: Network, words: Sequence[str]) -> UserPort:
    """The user network that the first of two words names; the first there is, if there is one word."""
    if len(words) == 2:
        port = network.ports.get(words[0])
        if port is None:
            refuse(f"unrecognized netdev id '{words[0]}'")
        if not isinstance(port, UserPort):
            refuse("invalid device specified")
        return port
    stacks = user_ports(network)
    if not stacks:
        refuse("user mode network stack not in use")
    return stacks[0]


def refuse(sentence: str) -> NoReturn:
    """Make a sentence the answer."""
    raise _Refusal(sentence)


async def help_(network: Network, words: Sequence[str]) -> str:
    """`help [COMMAND]`."""
    del network
    name = " ".join(words)
    if name in LINES:
        return help_text([LINES[name]])
    lines = [line for key, line in LINES.items() if not name or key.startswith(f"{name} ")]
    return help_text(lines) if lines else f"unknown command: '{name}'\n"


def help_text(lines: Sequence[_Line]) -> str:
    """One line for each command."""
    return "".join(f"{line.usage} -- {line.purpose}\n" for line in lines)


LINES = {
    "help": _Line("help|? [cmd]", "show the help", range(3), help_),
    "hostfwd_add": _Line(
        "hostfwd_add [netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
        "redirect TCP or UDP connections from host to guest (requires -net user)",
        range(1, 3),
        hostfwd_add,
    ),
    "hostfwd_remove": _Line(
        "hostfwd_remove [netdev_id] [tcp|udp]:[hostaddr]:hostport",
        "remove host-to-guest TCP or UDP redirection",
        range(1, 3),
        hostfwd_remove,
    ),
    "info network": _Line("info network ", "show the network state", range(1), info_network),
    "info usernet": _Line(
        "info usernet ", "show user network stack connection states", range(1), info_usernet
    ),
}


async def run_line(network: Network, text: str) -> str:
    """The answer to a command line, in lines that end in LF."""
    name, words = split_line(text)
    if not name:
        return ""
    if name not in LINES:
        return f"unknown command: '{name}'\n"
    line = LINES[name]
    if len(words) not in line.words:
        reason = (
            "string expected" if len(words) < line.words.start else "extraneous characters at the end of line"
        )
        return f'{name.split()[-1]}: {reason}\nTry "help {name}" for more information\n'
    try:
        return await line.run(network, words)
    except (_Refusal, WirebayError) as error:
        return f"{error}\n"


def split_line(text: str) -> tuple[str, list[str]]:
    """The command that a line names, and the words behind it."""
    words = text.split()
    if words[:1] == ["?"] or words == ["info"]:
        return "help", words if words == ["info"] else words[1:]
    length = 2 if words[:1] == ["info"] else 1
    return " ".join(words[:length]), words[length:]


async def human_monitor_command(context: Context, command_line: str) -> str:
    """Carry out one command line."""
    return (await run_line(context.network, command_line)).replace("\n", "\r\n")


COMMANDS = (Command("human-monitor-command", human_monitor_command, {"command-line": "string"}),)
