"""vhost-user: a guest whose VMM shares its memory with the worker, the fastest way to a virtual machine.

The sockets are those of a unix stream port; what goes over them are the messages by which the VMM tells of
its memory and its rings, and the worker speaks with it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirebay.options.types import StreamOptions, UnixAddr, VhostUserOptions
from wirebay.ports.stream import StreamPort

if TYPE_CHECKING:
    from wirebay.network import Network


class VhostUserPort(StreamPort):
    """A VMM on a unix socket; one at a time."""

    kind = "vhost-user"
    _commands = ("vhost_add", "vhost_attach")

    def __init__(self, network: Network, options: VhostUserOptions) -> None:
        stream = StreamOptions(
            id=options.id,
            server=options.server,
            addr=UnixAddr(path=options.path),
            reconnect_ms=options.reconnect_ms,
        )
        super().__init__(network, stream)
        self.offloads = options.offloads

    def _members(self) -> dict[str, Any]:
        return {"offloads": self.offloads}
