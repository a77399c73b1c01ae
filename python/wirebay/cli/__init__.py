"""The command line: `wirebay COMMAND ...`. One module per command, loaded only when it is run."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from wirebay.errors import OptionError, WirebayError

INTERRUPTED = 130  # what a shell reports for a program that SIGINT ended
BROKEN_PIPE = 141  # and SIGPIPE

COMMANDS = ("qemu", "ns", "serve", "card", "ctl", "doctor")

HELP = """\
usage: wirebay COMMAND [OPTIONS] ...

A fast network for virtual machines and rootless namespaces, without root.

  qemu     Run QEMU; its user networks are served by wirebay, all else stays as it is.
             wirebay qemu -- qemu-system-x86_64 -m 1G -nic user,hostfwd=tcp:127.0.0.1:2222-:22 disk.img

  ns       Run a command in a new network namespace that has a network, or connect one that exists.
             wirebay ns -- curl http://10.0.2.2:8000/

  serve    Run ports and hubs by hand, for several guests on one network.
             wirebay serve -netdev user,id=u0 \\
                 -netdev stream,id=vm0,server=on,addr.type=unix,addr.path=vm0.sock

  card     A simulated network card for a virtual machine, over vfio-user.
             wirebay card ne2k_pci --socket card.sock -netdev user,id=u0

  ctl      Ask and change one that runs with --control: ports, forwards, leases, counters, events.
             wirebay ctl --socket lab.sock forwards add tcp:127.0.0.1:8080-:80

  doctor   Say what works on this host, and how to mend what does not.
             wirebay doctor

'wirebay COMMAND --help' tells the rest, 'wirebay --version' the version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program; default: the process's own).

    Returns the exit status: the command's, 2 for wrong usage, 1 for what fails at run time, each with one
    sentence on standard error.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="surrogateescape"
        )  # file names that are no text come out as they came in
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = _dispatch(arguments)
            sys.stdout.flush()  # here, where a reader that has left can still be dealt with
            return status
        except WirebayError as error:
            return _complain(str(error), error.exit_status)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            return _reader_gone()
        except SystemExit as leaving:  # argparse leaves this way
            return leaving.code if isinstance(leaving.code, int) else 0


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        raise OptionError(f"give a command: {_listed(COMMANDS)} ('wirebay --help' explains them)")
    command, *rest = arguments
    if command in ("--help", "-h", "help"):
        print(HELP)
        return 0
    if command == "--version":
        from wirebay._core import __version__

        print(f"wirebay {__version__}")
        return 0
    if command not in COMMANDS:
        kind = "option" if command.startswith("-") else "command"
        raise OptionError(f"unknown {kind} '{command}'; the commands are {_listed(COMMANDS, 'and')}")
    status: int = importlib.import_module(f"wirebay.cli.{command}").run(rest)
    return status


def _listed(words: Sequence[str], joint: str = "or") -> str:
    return f"{', '.join(words[:-1])} {joint} {words[-1]}"


def _complain(sentence: str, status: int) -> int:
    print(f"wirebay: {sentence}", file=sys.stderr)
    return status


def _reader_gone() -> int:
    """Whoever read our output has left; what Python flushes at exit then goes nowhere, without complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings concern the user, in one sentence; all others keep Python's form, for developers."""
    text = f"wirebay: warning: {message}\n"
    if not category.__module__.startswith("wirebay."):
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)
