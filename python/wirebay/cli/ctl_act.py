"""The commands of `wirebay ctl` that do something: ping a guest, follow events, pass commands on."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from typing import Any

from wirebay.cli.ctl_verb import Verb, add_json_option, print_json, printable
from wirebay.cli.parser import Parser
from wirebay.control.client import Client, RefusedError
from wirebay.errors import OptionError

__all__ = ["HMP", "MONITOR", "PING", "QMP"]

INTERVAL = 1.0  # seconds between two pings
NO_ANSWER = "DeviceNotActive"  # the class of the error


def ping(client: Client, arguments: argparse.Namespace) -> int:
    """Ping a guest; the status is 1 if it never answers."""
    answers = []
    for number in range(arguments.count):
        if number:
            time.sleep(INTERVAL)
        answers.append(ping_once(client, arguments))
        if not arguments.json:
            say_ping(answers[-1])
    if arguments.json:
        print_json(answers)
    return 0 if any("time" in answer for answer in answers) else 1


def ping_once(client: Client, arguments: argparse.Namespace) -> dict[str, Any]:
    """The answer, or `{"error": SENTENCE}` when there is none. Raises RefusedError for another error."""
    try:
        answer: dict[str, Any] = client.execute(
            "wirebay-ping", netdev_id=arguments.port, address=arguments.address
        )
    except RefusedError as error:
        if error.kind != NO_ANSWER:
            raise
        return {"error": str(error)}
    return answer


def say_ping(answer: dict[str, Any]) -> None:
    """One line for people."""
    if "error" in answer:
        print(f"wirebay: {answer['error']}", file=sys.stderr, flush=True)
        return
    milliseconds = answer["time"] * 1000
    text = f"{answer['size']} bytes from {answer['address']}: ttl={answer['ttl']} time={milliseconds:.3f} ms"
    print(printable(text), flush=True)


def add_ping_arguments(parser: Parser) -> None:
    """The arguments of `ping`."""
    parser.add_argument("port", metavar="ID", help="the user network")
    parser.add_argument(
        "address", nargs="?", metavar="ADDRESS", help="the guest; needed where there are several"
    )
    parser.add_argument(
        "-c", dest="count", type=int, default=1, metavar="COUNT", help="how often (default: 1)"
    )
    add_json_option(parser)


def check_ping(parser: Parser, arguments: argparse.Namespace) -> None:
    """Leave for a count that is none."""
    if arguments.count < 1:
        parser.error("-c expects a count of 1 or more")


def monitor(client: Client, arguments: argparse.Namespace) -> int:
    """Print the events as they come, until the other side ends."""
    for event in client.events():
        print(json.dumps(event) if arguments.json else event_line(event), flush=True)
    return 0


def event_line(event: dict[str, Any]) -> str:
    """An event for people: when, what, and its data."""
    stamp = event["timestamp"]
    clock = time.strftime("%H:%M:%S", time.localtime(stamp["seconds"]))
    data = " ".join(f"{name}={plain(value)}" for name, value in event.get("data", {}).items())
    return printable(f"{clock}.{stamp['microseconds'] // 1000:03} {event['event']} {data}".rstrip())


def plain(value: object) -> str:
    """A text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def hmp(client: Client, arguments: argparse.Namespace) -> int:
    """Pass a line to the human monitor."""
    line = " ".join(arguments.line)
    answer: str = client.execute("human-monitor-command", command_line=line)
    for text in answer.splitlines():
        print(printable(text))
    return 0


def add_hmp_arguments(parser: Parser) -> None:
    """The arguments of `hmp`."""
    parser.add_argument(
        "line", nargs="+", metavar="WORD", help="a command of QEMU's monitor, e.g. info network"
    )


def qmp(client: Client, arguments: argparse.Namespace) -> int:
    """Pass a request on and print what comes back."""
    print_json(client.request(arguments.request))
    return 0


def add_qmp_arguments(parser: Parser) -> None:
    """The arguments of `qmp`."""
    parser.add_argument("request", metavar="REQUEST", help='a command, or a whole {"execute": ...}')
    parser.add_argument("arguments", nargs="?", metavar="ARGUMENTS", help="the command's arguments, in JSON")


def check_qmp(parser: Parser, arguments: argparse.Namespace) -> None:
    """Put the request together. Leaves where it is none."""
    from wirebay.options.grammar import parse_json

    text, given = arguments.request, arguments.arguments
    with contextlib.suppress(OptionError):
        request = parse_json(text) if text.startswith("{") else {"execute": text}
        if given is not None:
            request["arguments"] = parse_json(given)
        arguments.request = request
        return
    parser.error("what begins with { must be a JSON object, and so must ARGUMENTS")


PING = Verb(
    "ping",
    "ID [ADDRESS] [-c COUNT] [--json]",
    "ping a guest from the host",
    ping,
    add_ping_arguments,
    check_ping,
)
MONITOR = Verb("monitor", "[--json]", "print events as they come", monitor, add_json_option)
HMP = Verb("hmp", "WORD...", "a command of QEMU's human monitor", hmp, add_hmp_arguments)
QMP = Verb("qmp", "REQUEST [ARGUMENTS]", "a request as it is", qmp, add_qmp_arguments, check_qmp)
