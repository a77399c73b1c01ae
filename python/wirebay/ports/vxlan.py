"""vxlan: a VXLAN segment (RFC 7348) with a list of hosts, without root and without multicast.

The worker learns behind which host a station is; frames for those it does not know, and for groups, go to all
hosts of the list. Frames are taken from these hosts alone, whatever their source port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirebay.options.link_types import VxlanOptions
from wirebay.ports.dgram import DatagramPort
from wirebay.ports.dgram_sockets import Sockets, bound, first_of, text_of

if TYPE_CHECKING:
    from wirebay.network import Network


class VxlanPort(DatagramPort):
    """This host's end of the segment."""

    kind = "vxlan"

    def __init__(self, network: Network, options: VxlanOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self.framing = {"vxlan": {"vni": options.vni}}

    async def _sockets(self) -> Sockets:
        family, first = await first_of(self.options.remote[0])
        remotes = [first] + [(await first_of(remote, family))[1] for remote in self.options.remote[1:]]
        _, local = await first_of(self.options.local, family)
        sock = bound(family, local)
        names = [_with_scope(name) for name in remotes]
        where = f"{self.options.vni} at {text_of(sock.getsockname())} with {', '.join(map(text_of, remotes))}"
        return Sockets(receiver=sock, to={"inet": names}, address=where)


def _with_scope(name: tuple[object, ...]) -> str:
    """An address as the worker reads it: a scope as its number."""
    host, port = str(name[0]).partition("%")[0], name[1]
    if ":" not in host:
        return f"{host}:{port}"
    scope = f"%{name[3]}" if name[3] else ""
    return f"[{host}{scope}]:{port}"
