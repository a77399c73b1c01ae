"""Connections of filters to other programs: QEMU's `-chardev socket`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from wirebay.errors import HostError, OptionError
from wirebay.options.types import FdAddr, InetAddr
from wirebay.ports.sockets import accept, address_text, adopt, check, connect, listen, tune
from wirebay.teardown import Teardown

if TYPE_CHECKING:
    from wirebay.options.chardev import ChardevOptions

logger = logging.getLogger("wirebay")

# After a failure that does not pass by itself, such as no free descriptor.
ACCEPT_PAUSE = 0.5


class Chardev:
    """A stream socket, listening or connecting; one filter may use it. `address` is where."""

    def __init__(self, options: ChardevOptions) -> None:
        check(options.addr)
        self.id = options.id
        self.options = options
        self.address = address_text(options.addr)
        self.user: str | None = None
        self._listener: socket.socket | None = None
        self._teardown = Teardown()

    async def open(self) -> None:
        """Listen, if it is a server. Raises HostError when the address cannot be had."""
        if not self.options.server:
            return
        self._listener, unlink = await listen(self.options.addr)
        self._teardown.add(unlink)
        self._teardown.add(self._listener.close)
        if isinstance(self.options.addr, InetAddr):
            host, port = self._listener.getsockname()[:2]
            self.address = f"tcp:{self.options.addr.host or host}:{port}"

    async def close(self) -> list[Exception]:
        """Close it; returns what failed."""
        return await self._teardown.run()

    def take(self, user: str) -> None:
        """Reserve it for the filter `user`. Raises OptionError when another one has it."""
        if self.user is not None:
            raise OptionError(f"Device '{self.id}' is in use")
        self.user = user

    def give_back(self) -> None:
        """The filter needs it no more."""
        self.user = None

    async def peers(self) -> AsyncIterator[socket.socket]:
        """The peers, one after the other; whoever takes one closes it, and asks again when it has gone."""
        while True:
            try:
                peer = await self._peer()
            except (OSError, HostError) as error:
                logger.warning("chardev '%s': %s", self.id, error)
            else:
                tune(peer, self.options.addr)
                yield peer
            if self._listener is None:
                if not self.options.reconnect_ms:
                    return
                await asyncio.sleep(self.options.reconnect_ms / 1000)

    async def _peer(self) -> socket.socket:
        if self._listener is None:
            addr = self.options.addr
            return adopt(addr) if isinstance(addr, FdAddr) else await connect(addr)
        try:
            return await accept(self._listener)
        except OSError:
            await asyncio.sleep(ACCEPT_PAUSE)
            raise
