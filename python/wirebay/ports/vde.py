"""vde: a port of a VDE switch; QEMU's `-netdev vde`, without libvdeplug.

The datagram socket is made in the switch's directory, as libvdeplug does, and where that may not be written
in a directory of our own. The control connection stays open; when it ends, the switch has gone, and with
`reconnect-ms` we look for it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wirebay.errors import HostError
from wirebay.options.link_types import UnixAddr, VdeOptions
from wirebay.ports.base import Port
from wirebay.ports.dgram import PLAIN
from wirebay.ports.dgram_sockets import bound_unix
from wirebay.ports.sockets import closing_on_error, connect_to
from wirebay.ports.vde_message import REPLY_SIZE, Request, VdeError, parse_address
from wirebay.ports.vde_server import VdeServerPort
from wirebay.ports.vde_sockets import give_away, group_id, until_end

if TYPE_CHECKING:
    from wirebay.network import Network

logger = logging.getLogger("wirebay")

# Where a switch is if nobody says where (libvdeplug 2).
USUAL_PLACES = ("~/.vde2/default.switch", "/var/run/vde.ctl", "/tmp/vde.ctl")  # noqa: S108 - VDE's own
ANSWER_SECONDS = 5.0


def make_port(network: Network, options: VdeOptions) -> Port:
    """A port of a switch, or a switch."""
    return (VdeServerPort if options.server else VdePort)(network, options)


class VdePort(Port):
    """A port of a VDE switch; `sock` is the directory of the switch."""

    kind = "vde"

    def __init__(self, network: Network, options: VdeOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self.sock = Path(options.sock) if options.sock else usual_place()

    def describe(self) -> str:
        """One line for people: which switch."""
        port = f" port {self.options.port}" if self.options.port else ""
        return f"{self.id}: vde switch {self.sock}{port}"

    async def open(self) -> None:
        """Plug in. Raises HostError when there is no switch."""
        group_id(self.options.group)
        await self._add_to_worker("dgram_add", framing=PLAIN)
        control, undo = await self._plug_in()
        self._run("watching the switch", self._stay, control, undo)

    async def _stay(self, control: socket.socket, undo: Callable[[], None]) -> None:
        """Hold the control connection, and look for the switch again when it has gone."""
        while True:
            try:
                with control:
                    await until_end(control)
            finally:
                undo()
            logger.warning("vde port '%s': the switch %s has gone", self.id, self.sock)
            if not self.options.reconnect_ms:
                return
            control, undo = await self._find_again()
            logger.info("vde port '%s' is connected: %s", self.id, self.sock)

    async def _find_again(self) -> tuple[socket.socket, Callable[[], None]]:
        while True:
            await asyncio.sleep(self.options.reconnect_ms / 1000)
            with contextlib.suppress(HostError):
                return await self._plug_in()

    async def _plug_in(self) -> tuple[socket.socket, Callable[[], None]]:
        """Ask for a port and hand it to the worker; the connection that holds it, and what to undo then."""
        try:
            control = await connect_to(socket.AF_UNIX, str(self.sock / "ctl"))
        except OSError as error:
            raise HostError(f"Could not open vde: {error.strerror} ({self.sock})") from error
        with closing_on_error(control):
            data, path, undo = data_socket(self.sock, self.options)
            try:
                with data:
                    await self._request(control, data, path)
            except BaseException:
                undo()
                raise
        return control, undo

    async def _request(self, control: socket.socket, data: socket.socket, path: str) -> None:
        loop = asyncio.get_running_loop()
        request = Request(path=path, port=self.options.port, text=f"wirebay {self.id}")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await loop.sock_sendall(control, request.pack())
                reply = await loop.sock_recv(control, REPLY_SIZE)
            if not reply:
                raise HostError(f"Could not open vde: the switch {self.sock} gave no port")
            data.connect(parse_address(reply))
        except TimeoutError:
            raise HostError(f"Could not open vde: the switch {self.sock} does not answer") from None
        except (VdeError, OSError) as error:
            raise HostError(f"Could not open vde: {error} ({self.sock})") from error
        await self.network.worker.call("dgram_attach", port=self.id, to="peer", fds=[data.fileno()])


def usual_place() -> Path:
    """The first of the usual places where there is a switch, or else the one for the whole host."""
    places = [Path(place).expanduser() for place in USUAL_PLACES]
    return next((place for place in places if (place / "ctl").exists()), places[1])


def data_socket(directory: Path, options: VdeOptions) -> tuple[socket.socket, str, Callable[[], None]]:
    """A datagram socket of our own that the switch can reach: itself, its path, and what to undo."""
    try:
        return _data_socket_in(directory, options)
    except HostError:
        own = Path(tempfile.mkdtemp(prefix="wirebay-vde-"))
        own.chmod(0o711)
    try:
        sock, path, undo = _data_socket_in(own, options)
    except BaseException:
        own.rmdir()
        raise

    def undo_both() -> None:
        undo()
        own.rmdir()

    return sock, path, undo_both


def _data_socket_in(directory: Path, options: VdeOptions) -> tuple[socket.socket, str, Callable[[], None]]:
    path = directory.absolute() / f".{os.getpid():05d}-{options.id}"
    sock, undo = bound_unix(UnixAddr(path=str(path)))
    with closing_on_error(sock):
        give_away(path, options)
    return sock, str(path), undo
