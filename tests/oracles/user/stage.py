"""What a script plays on: a guest's card on one of the networks, and the host behind it.

The guest does by itself what every guest does without being told: it answers who asks for its address, and
acknowledges what it gets by TCP. All else is said by the script. Sequence numbers are counted from the first
of each side, so that those of two networks compare.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.user.dissect import Seen, dissect
from tests.oracles.user.host import Host
from tests.oracles.user.rig import Wire
from tests.oracles.user.text import Fields, address_of
from tests.wire import inet
from tests.wire.inet import IPV6
from tests.wire.packets import ACK, ARP, BROADCAST, FIN, IPV4, RST, SYN, Segment, arp, ethernet

MAC = bytes.fromhex("525400123456")
GUEST, GATEWAY, GATEWAY6 = "10.0.2.15", "10.0.2.2", "fec0::2"
GUEST6, LINK_LOCAL = inet.with_prefix("fec0::", MAC), inet.link_local(MAC)
PATIENCE = 4.0  # routers may wait three seconds (RFC 4861 6.2.6)
FIRST = 1000  # the sequence number of every SYN of the guest's


@dataclass
class Flow:
    """One TCP connection, as the guest has it: what it sends next and what it has got."""

    here: tuple[str, int]
    there: tuple[str, int]
    seq: int = FIRST
    ack: int = 0
    their_first: int | None = None


@dataclass
class Stage:
    """A guest on `wire`; `notes` are facts a step found on the host, `flow` the connection it is about.

    `sockets` are the host's, by the names a script gives them, `peers` whom each of them talks to.
    """

    wire: Wire
    host: Host
    gateway_mac: bytes = BROADCAST
    notes: Fields = field(default_factory=dict)
    flows: list[Flow] = field(default_factory=list)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    peers: dict[str, Any] = field(default_factory=dict)
    heard: Seen | None = None

    @property
    def flow(self) -> Flow:
        return self.flows[-1]

    def send(self, packet: bytes) -> None:
        """An IP packet, to the Ethernet address where it belongs."""
        if packet[0] >> 4 == 6:
            to = inet.group_mac(address_of(packet[24:40])) if packet[24] == 0xFF else self.gateway_mac
            self.wire.send(ethernet(to, MAC, IPV6, packet))
            return
        to = BROADCAST if packet[16:20] == b"\xff" * 4 else self.gateway_mac
        self.wire.send(ethernet(to, MAC, IPV4, packet))

    def send_segment(self, flags: int, payload: bytes = b"", options: bytes = b"") -> None:
        """The next segment of the flow."""
        flow = self.flow
        self.send(inet.segment(Segment(flow.here, flow.there, flow.seq, flow.ack, flags, payload, options)))
        flow.seq += len(payload) + bool(flags & (SYN | FIN))

    def receive(self, patience: float = PATIENCE) -> Seen | None:
        """The next frame that is not the guest's own business; None when none came."""
        end = time.monotonic() + patience
        while (frame := self.wire.receive(end)) is not None:
            seen = dissect(frame)
            if self._is_question(seen):
                continue
            if seen.kind == "tcp" and not self._follow(seen):
                continue
            if seen.kind in ("arp", "na") and seen.source[0] in (GATEWAY, GATEWAY6):
                self.gateway_mac = seen.mac
            self.heard = seen
            return seen
        return None

    def _is_question(self, seen: Seen) -> bool:
        """Answer who asks for the guest's address."""
        if seen.kind == "arp" and seen.fields["arp.operation"] == "1" and seen.destination[0] == GUEST:
            self.wire.send(ethernet(seen.mac, MAC, ARP, arp(2, MAC, GUEST, seen.mac, seen.source[0])))
            return True
        if seen.kind == "ns" and seen.fields["nd.target"] in (GUEST6, LINK_LOCAL):
            target = seen.fields["nd.target"]
            self.wire.send(inet.advertisement(MAC, target, seen.mac, seen.source[0]))
            return True
        return False

    def _follow(self, seen: Seen) -> bool:
        """Move the segment's flow on and acknowledge; False for one that says nothing new."""
        seq, ack, flags = (seen.numbers[name] for name in ("seq", "ack", "flags"))
        flow = self._flow_of(seen)
        if flow is None:
            return True
        if flags & SYN:
            flow.their_first, flow.ack = seq, seq
        first = seq if flow.their_first is None else flow.their_first
        seen.fields |= {"tcp.seq": str((seq - first) % 2**32)}
        seen.fields |= {"tcp.ack": str((ack - FIRST) % 2**32)} if flags & ACK else {}
        length = len(seen.payload) + bool(flags & (SYN | FIN))
        if flags & RST or not length:
            return True
        new = seq == flow.ack
        flow.ack = (seq + length) % 2**32 if new else flow.ack
        if flags & ACK:  # a bare SYN is answered by the script
            self.send_segment(ACK)
        return new

    def _flow_of(self, seen: Seen) -> Flow | None:
        for flow in self.flows:
            if (seen.source, seen.destination) == (flow.there, flow.here):
                return flow
        if seen.numbers["flags"] & SYN:
            self.flows.append(Flow(seen.destination, seen.source))
            return self.flow
        return None
