"""stream: Ethernet frames over a stream socket, each behind a 4-byte length; QEMU's `-netdev stream`.

Python listens or connects and hands each connected socket to the worker, which moves the frames. When the
worker says that the peer is gone, the next one is taken: a server accepts whoever waits in the backlog, a
client connects again after `reconnect-ms` (0: never). As in QEMU, a client that cannot connect is no error of
the network: the log has the sentence. A server with `max-peers` gives each peer a port of its own
(`wirebay/ports/peers.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import socket
from typing import TYPE_CHECKING, Any

from wirebay.options.link_types import FdAddr, InetAddr, StreamOptions
from wirebay.ports.peers import Door, PeerPort, Peers
from wirebay.ports.sockets import adopt, check, inherit, listen, name_text, tune

if TYPE_CHECKING:
    from wirebay.network import Network


class StreamPeer(PeerPort):
    """One peer of a server that takes several."""

    kind = "stream"
    # The worker's commands for a new port and for its peer.
    _commands = ("stream_add", "stream_attach")

    def __init__(self, network: Network, options: StreamOptions) -> None:
        super().__init__(network, options, options.addr)
        self.options = options

    def describe(self) -> str:
        """One line for people: whose peer it is."""
        return f"{self.id}: a peer of {self.address}"

    async def open(self) -> None:
        """Make the port; the peer is attached next."""
        await self._add_to_worker(self._commands[0], **self._members())

    def _members(self) -> dict[str, Any]:
        """What the worker is told of the port beside its name."""
        return {}

    async def _hand_over(self, peer: socket.socket) -> None:
        tune(peer, self.options.addr)
        await self.network.worker.call(self._commands[1], port=self.id, fds=[peer.fileno()])


class StreamPort(StreamPeer):
    """A stream socket, or what listens for several of them."""

    def __init__(self, network: Network, options: StreamOptions) -> None:
        super().__init__(network, options)
        check(options.addr)
        self._peers = Peers(self, options.max_peers)

    def describe(self) -> str:
        """One line for people: where it listens or connects to."""
        doing = "listening on" if self.options.server else "connecting to"
        if isinstance(self.options.addr, FdAddr):
            doing = "using"
        several = f" for up to {self.options.max_peers} peers" if self.options.max_peers > 1 else ""
        return f"{self.id}: {doing} {self.address}{several}"

    async def open(self) -> None:
        """Listen, or start to connect. Raises HostError when the address cannot be had."""
        await self._add_to_worker(self._commands[0], **self._members())
        if self.options.server:
            await self._listen()
        elif isinstance(self.options.addr, FdAddr):
            await self.attach(adopt(self.options.addr))
        else:
            self._run("connecting", self._connect_for_ever, self.options.reconnect_ms)

    async def moved(self) -> None:
        """The peers follow."""
        await self._peers.follow()

    async def _listen(self) -> None:
        addr, given = self.options.addr, self.network.listeners.get(self.id)
        listener, unlink = inherit(given) if given else await listen(addr)
        self._teardown.add(unlink)
        self._teardown.add(listener.close)
        self._teardown.add(self._peers.close)
        if given:
            self.address = name_text(listener)
        elif isinstance(addr, InetAddr):
            host, port = listener.getsockname()[:2]
            self.address = f"tcp:{addr.host or host}:{port}"
        self.state = "listening"
        several = self.options.max_peers > 1
        self._run("accepting", self._admit_for_ever if several else self._accept_for_ever, listener)

    async def _admit_for_ever(self, listener: socket.socket) -> None:
        door = Door(self, listener)
        while True:
            await self._peers.room()
            peer = await door.next_peer()
            options = dataclasses.replace(self.options, id=self._peers.free_id())
            child = StreamPeer(self.network, options)
            self._peers.admit(child, peer, functools.partial(child.serve, peer))
