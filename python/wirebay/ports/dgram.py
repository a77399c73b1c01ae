"""dgram: a frame in each datagram; QEMU's `-netdev dgram`, and what all ports on datagram sockets share.

Python makes the socket and says where frames go; the worker moves them. A UDP socket is connected to its
peer, so that the kernel takes frames from nobody else, where QEMU takes them from anybody.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from wirebay.options.dgram import is_multicast
from wirebay.options.link_types import DgramOptions, FdAddr, InetAddr, UnixAddr
from wirebay.ports.base import Port
from wirebay.ports.dgram_sockets import Sockets, inherited, multicast, unicast, unix
from wirebay.ports.sockets import check

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.types import Netdev

PLAIN = "plain"


class DatagramPort(Port):
    """A port on a datagram socket; `address` says which, for people.

    A kind says how its sockets are made and what stands before its frames (`framing`, docs/protocol.md).
    """

    framing: object = PLAIN

    def __init__(self, network: Network, options: Netdev) -> None:
        super().__init__(network, options)
        self.address = ""

    def describe(self) -> str:
        """One line for people: the id, the kind and the addresses."""
        return f"{self.id}: {self.kind} {self.address}".rstrip()

    async def open(self) -> None:
        """Make the sockets and give them to the worker. Raises HostError when an address cannot be had."""
        await self._add_to_worker("dgram_add", framing=self.framing)
        await self._attach(await self._sockets())

    @abstractmethod
    async def _sockets(self) -> Sockets:
        """Make the sockets."""

    async def _attach(self, sockets: Sockets) -> None:
        self._teardown.add(sockets.undo)
        try:
            await self.network.worker.call("dgram_attach", port=self.id, to=sockets.to, fds=sockets.fds())
        finally:
            sockets.close()
        self.address = sockets.address


class DgramPort(DatagramPort):
    """A port of `-netdev dgram`."""

    kind = "dgram"

    def __init__(self, network: Network, options: DgramOptions) -> None:
        super().__init__(network, options)
        self.options = options
        for addr in (options.local, options.remote):
            if addr is not None:
                check(addr)

    async def _sockets(self) -> Sockets:
        return await open_dgram(self.options)


async def open_dgram(options: DgramOptions) -> Sockets:
    """The sockets that the options name. Raises HostError."""
    local, remote = options.local, options.remote
    if isinstance(remote, InetAddr) and is_multicast(remote):
        if isinstance(local, FdAddr):
            return inherited(local)
        assert not isinstance(local, UnixAddr)
        return await multicast(remote, local)
    if isinstance(local, FdAddr):
        return inherited(local)
    if isinstance(local, UnixAddr):
        assert isinstance(remote, UnixAddr)
        return unix(local, remote)
    assert isinstance(local, InetAddr)
    assert isinstance(remote, InetAddr)
    return await unicast(local, remote)
