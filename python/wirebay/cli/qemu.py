"""wirebay qemu: run QEMU as it is, with its user networks served by Wirebay."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from wirebay.cli.control import add_control_option, check_control, controlled
from wirebay.cli.parser import Parser
from wirebay.cli.qemu_transport import choose
from wirebay.errors import HostError, OptionError
from wirebay.options.qemu_command import Served, rewrite
from wirebay.options.qemu_vhost import KINDS, Transport
from wirebay.options.types import StreamOptions, UnixAddr, VhostUserOptions

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.ports.stream import StreamPort
    from wirebay.private_directory import PrivateDirectory

USAGE = "[-n] [--transport auto|stream|vhost-user] [--control PATH] [--] QEMU [ARGUMENT...]"

DESCRIPTION = """\
Run QEMU with the command line given. Every user network on it (-nic user, -netdev user, -net user, or
QEMU's default one) is served by wirebay, with the options QEMU has for it, and mtu=BYTES and
host-loopback=on|off in addition. All else stays as it is, byte for byte. The exit status is QEMU's.
A network with a virtio-net card goes over vhost-user, which is faster, where QEMU and its memory allow it."""

EXAMPLES = """\
examples:
  wirebay qemu -- qemu-system-x86_64 -m 1G disk.img
  wirebay qemu -- qemu-system-x86_64 -m 1G disk.img \\
      -nic user,model=virtio,hostfwd=tcp:127.0.0.1:2222-:22       then: ssh -p 2222 127.0.0.1
  wirebay qemu -n -- qemu-system-x86_64 -netdev user,id=u0 -device e1000,netdev=u0"""

NO_NETWORK = "this command line has no user network for wirebay to serve"
NOTHING_TO_SERVE = f"{NO_NETWORK}; QEMU runs it as it is"

# Where Debian has the programs; all others are in qemu-system-misc.
PACKAGES = {
    "x86_64": "x86", "i386": "x86", "aarch64": "arm", "arm": "arm", "mips": "mips", "mipsel": "mips",
    "mips64": "mips", "mips64el": "mips", "ppc": "ppc", "ppc64": "ppc", "s390x": "s390x", "riscv32": "riscv",
    "riscv64": "riscv", "sparc": "sparc", "sparc64": "sparc",
}  # fmt: skip

WITH_VALUE = ("--control", "--transport")
MAX_SOCKET_PATH = 107  # bytes, sun_path without its final zero


def make_parser() -> Parser:
    """The parser of the command's own arguments."""
    parser = Parser("qemu", usage=USAGE, description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("-n", "--dry-run", action="store_true", help="print QEMU's command line and stop")
    parser.add_argument(
        "--transport", choices=KINDS, default="auto", help="between QEMU and wirebay (%(default)s)"
    )
    add_control_option(parser)
    return parser


def run(argv: list[str]) -> int:
    """The command. Returns QEMU's exit status; raises OptionError for wrong usage, HostError at run time."""
    own, command = split_command(argv)
    parser = make_parser()
    arguments = parser.parse_args(own)
    control = check_control(arguments.control)
    if not command:
        parser.error("give QEMU's command line, as in 'wirebay qemu -- qemu-system-x86_64 ...'")
    transport = choose(command, arguments.transport)
    plan = rewrite(command, f"{socket_base()}/wirebay-XXXXXXXX", transport)
    if not plan.networks:
        refuse_control(control)
        print(f"wirebay: {NOTHING_TO_SERVE}", file=sys.stderr, flush=True)
    if arguments.dry_run:
        print(shlex.join(plan.argv))
        return 0
    check_program(command[0])
    if not plan.networks:
        replace_by(plan.argv)

    import logging

    from wirebay.cli.loop import run_loop

    logging.basicConfig(level=logging.WARNING, format="wirebay: %(message)s")
    return run_loop(serve_qemu(command, transport, control))


def refuse_control(path: str | None) -> None:
    """Raise OptionError for --control where wirebay has nothing to do that could be controlled."""
    if path is not None:
        raise OptionError(f"--control {path}: {NO_NETWORK}")


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own options, and QEMU's command line: from the first word without a dash, or after `--`."""
    for position, word in enumerate(argv):
        if word == "--":
            return list(argv[:position]), list(argv[position + 1 :])
        is_value = position > 0 and argv[position - 1] in WITH_VALUE
        if not word.startswith("-") and not is_value:
            return list(argv[:position]), list(argv[position:])
    return list(argv), []


def socket_base() -> str:
    """The directory to make a private one in: the user's run-time directory if there is one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return runtime if runtime and os.access(runtime, os.W_OK | os.X_OK) else tempfile.gettempdir()


def check_program(program: str) -> None:
    """Raise HostError if there is no such program, with the package that has it."""
    if shutil.which(program) is not None:
        return
    _, is_qemu, target = Path(program).name.partition("qemu-system-")
    package = f"qemu-system-{PACKAGES.get(target, 'misc')}"
    hint = f"; on Debian it is in the package {package}" if is_qemu and "/" not in program else ""
    reason = "Permission denied" if Path(program).exists() else "No such file or directory"
    raise HostError(f"Could not start '{program}': {reason}{hint}")


def replace_by(argv: Sequence[str]) -> NoReturn:
    """Become QEMU: there is nothing to do beside it. Raises HostError."""
    sys.stdout.flush()
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606 - the program is the user's choice
    except OSError as error:
        raise HostError(f"Could not start '{argv[0]}': {error.strerror}") from error


async def serve_qemu(command: Sequence[str], transport: Transport, control: str | None) -> int:
    """Set up the networks of QEMU's command line, run QEMU on them, and return its exit status."""
    from wirebay.cli.child import spawn, supervise
    from wirebay.network import Network

    directory = private_directory()
    with directory:
        rewritten = rewrite(command, str(directory.path), transport)
        async with Network() as network:
            sockets = [await connect(network, served) for served in rewritten.networks]
            async with controlled(network, control):
                pid = spawn(rewritten.argv)
                clearing = asyncio.ensure_future(clear(directory, sockets))
                try:
                    return await supervise(pid, network, "QEMU")
                finally:
                    clearing.cancel()


def private_directory() -> PrivateDirectory:
    """A new directory for sockets that nobody else can enter; a context manager. Raises HostError."""
    from wirebay.private_directory import PrivateDirectory

    base = socket_base()
    if len(os.fsencode(f"{base}/wirebay-XXXXXXXX/net00.sock")) > MAX_SOCKET_PATH:
        raise HostError(
            f"the path '{base}' is too long for unix sockets; set XDG_RUNTIME_DIR to a shorter one"
        )
    try:
        return PrivateDirectory(base)
    except OSError as error:
        raise HostError(f"no directory for sockets can be made in '{base}': {error.strerror}") from error


async def connect(network: Network, served: Served) -> StreamPort:
    """Make a user network and the port that QEMU connects to, joined; returns the port."""
    inside = await network.add(served.user)
    # QEMU takes no such id, so the port's never is that of a user network.
    name = f"#{served.user.id}"
    outside = await network.add(
        VhostUserOptions(id=name, path=served.path)
        if served.vhost_user
        else StreamOptions(id=name, server=True, addr=UnixAddr(path=served.path))
    )
    await network.join(inside, outside)
    return cast("StreamPort", outside)


async def clear(directory: PrivateDirectory, sockets: Sequence[StreamPort]) -> None:
    """Remove the sockets as soon as QEMU is connected to all: then nothing is left if we are killed.

    QEMU never connects again.
    """
    for socket in sockets:
        await socket.connected
    directory.close()
