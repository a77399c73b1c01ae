"""A card on a unix socket: a thread of its own that serves one VMM after the other.

The thread is in Rust (`wirebay._core.CardServer`) except where it asks the model. Frames go to the packet
worker and come from it over a socket pair, at whose other end is a stream port of the network.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wirebay._core import CardServer
from wirebay.cards.card import Card
from wirebay.options.types import FdAddr, StreamOptions, UnixAddr
from wirebay.ports.sockets import check, listen

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.ports import Port

logger = logging.getLogger("wirebay")


def make_server(
    kind: type[Card], mac: bytes, frames: socket.socket, rom: bytes = b""
) -> tuple[CardServer, Card]:
    """A server with a new card in it. `frames` is taken over: it carries frames as a stream port does."""
    identity = kind.identity
    config, writable = identity.config(len(rom))
    server = CardServer(
        frames.detach(),
        config=config,
        writable=writable,
        bars=identity.bar_sizes,
        rom=rom,
        vectors=identity.vectors,
        patience=kind.patience,
    )
    card = kind(mac, server)
    server.insert(card)
    return server, card


def serve_clients(server: CardServer, listener: socket.socket, name: str) -> None:
    """Serve whoever connects, until `server.stop()` or the end of the packet worker."""
    try:
        while server.wait_for_client(os.dup(listener.fileno())):
            try:
                peer = listener.accept()[0]
            except OSError:  # it has left again
                continue
            logger.info("card '%s' is connected", name)
            serve_one(server, peer, name)
    except RuntimeError as error:
        logger.info("card '%s' ended: %s", name, error)


def serve_one(server: CardServer, peer: socket.socket, name: str) -> None:
    """Serve one client to its end; a model that fails costs the connection only."""
    peer.setblocking(False)
    try:
        logger.info("card '%s': %s", name, server.serve(peer.detach()))
    except Exception:
        logger.exception("card '%s' failed", name)


async def network_end(network: Network, port: Port, name: str) -> socket.socket:
    """A socket that carries the frames of a card on a hub with `port`. Raises WirebayError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    addr = FdAddr(fd=str(theirs.detach()))
    # No option can spell this name.
    end = await network.add(StreamOptions(id=f"#{name}", server=False, addr=addr))
    await network.join(port, end)
    return ours


@asynccontextmanager
async def served(
    network: Network, port: Port, kind: type[Card], mac: bytes, path: str, rom: bytes = b""
) -> AsyncIterator[Card]:
    """Inside the context a card of this kind is on the socket `path`, joined with `port`.

    Raises OptionError, HostError when it cannot be.
    """
    addr = UnixAddr(path=path)
    check(addr)
    listener, unlink = await listen(addr)
    try:
        server, card = make_server(kind, mac, await network_end(network, port, path), rom)
        thread = threading.Thread(target=serve_clients, args=(server, listener, path), daemon=True)
        thread.start()
        try:
            yield card
        finally:
            server.stop()
            await asyncio.to_thread(thread.join)
    finally:
        unlink()
        listener.close()
