"""A guest made of Python: it sits at the far end of a stream port and speaks what a test tells it to."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Self

from tests.wire.packets import (
    ACK,
    ARP,
    BROADCAST,
    FIN,
    IPV4,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    Packet,
    Segment,
    arp,
    ethernet,
    ipv4,
    parse_ipv4,
    parse_tcp,
    parse_udp,
    udp,
)
from wirebay.network import Network
from wirebay.ports import Port

PATIENCE = 5.0
GATEWAY, GUEST = "10.0.2.2", "10.0.2.15"


class Guest:
    """One network card: `mac` and `address` are what it says it has."""

    def __init__(self, sock: socket.socket, number: int = 1) -> None:
        self.mac = bytes((0x52, 0x54, 0, 0x12, 0x34, number))
        self.address = GUEST
        self.gateway_mac = BROADCAST
        self._knows_gateway = False
        self.sock = sock
        self._buffer = bytearray()
        sock.setblocking(False)

    @classmethod
    async def on(cls, network: Network, name: str, number: int = 1) -> tuple[Self, Port]:
        """A guest with a stream port of its own in `network`."""
        ours, theirs = socket.socketpair()
        port = await network.add("stream", id=name, addr={"type": "fd", "str": str(theirs.detach())})
        return cls(ours, number), port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    async def write(self, data: bytes) -> None:
        """Bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def send(self, frame: bytes) -> None:
        """A frame, behind its length."""
        await self.write(struct.pack("!I", len(frame)) + frame)

    async def receive(self) -> bytes:
        """The next frame. Raises EOFError when the port hung up, TimeoutError when nothing comes.

        One that is cancelled loses nothing.
        """
        async with asyncio.timeout(PATIENCE):
            await self._have(4)
            (length,) = struct.unpack_from("!I", self._buffer)
            return (await self._take(4 + length))[4:]

    async def _take(self, size: int) -> bytes:
        await self._have(size)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _have(self, size: int) -> None:
        while len(self._buffer) < size:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 17)
            if not data:
                raise EOFError
            self._buffer += data

    async def hung_up(self) -> bool:
        """Wait until the port closes the connection."""
        try:
            while True:
                await self.receive()
        except (EOFError, ConnectionResetError):
            return True

    async def packet(self, wanted: Callable[[Packet], bool]) -> Packet:
        """The next IPv4 packet for us that is wanted; requests for our MAC address are answered meanwhile."""
        while True:
            frame = await self.receive()
            if frame[:6] not in (self.mac, BROADCAST):
                continue
            kind, payload = struct.unpack_from("!H", frame, 12)[0], frame[14:]
            if kind == ARP:
                await self._answer_arp(payload)
            elif kind == IPV4 and wanted(packet := parse_ipv4(payload)):
                if not self._knows_gateway:
                    self.gateway_mac = frame[6:12]
                return packet

    async def _answer_arp(self, payload: bytes) -> None:
        operation, sender = struct.unpack_from("!H", payload, 6)[0], payload[8:14]
        if operation == 1 and payload[24:28] == socket.inet_aton(self.address):
            reply = arp(2, self.mac, self.address, sender, socket.inet_ntoa(payload[14:18]))
            await self.send(ethernet(sender, self.mac, ARP, reply))

    async def send_ipv4(self, protocol: int, destination: str, payload: bytes) -> None:
        packet = ipv4(protocol, self.address, destination, payload)
        await self.send(ethernet(self.gateway_mac, self.mac, IPV4, packet))

    async def send_udp(self, source: tuple[str, int], destination: tuple[str, int], data: bytes) -> None:
        await self.send(ethernet(self.gateway_mac, self.mac, IPV4, udp(source, destination, data)))

    async def datagram(self, port: int) -> tuple[tuple[str, int], bytes]:
        """The next datagram to this port of ours: where it is from, and what it says."""
        while True:
            packet = await self.packet(lambda packet: packet.protocol == UDP)
            source, destination, data = parse_udp(packet)
            if destination[1] == port:
                return source, data

    async def announce(self) -> None:
        """Let the network know who has our address, and learn who has the gateway's."""
        request = arp(1, self.mac, self.address, bytes(6), GATEWAY)
        await self.send(ethernet(BROADCAST, self.mac, ARP, request))
        # On a segment of many guests, their questions are heard as well.
        while (frame := await self.receive())[12:22] != struct.pack("!HHHBBH", ARP, 1, IPV4, 6, 4, 2):
            pass
        self.gateway_mac, self._knows_gateway = frame[22:28], True

    async def accept(self, port: int) -> Connection:
        """Answer the next connection to this port of ours."""
        syn = await self._segment(lambda segment: segment.destination[1] == port and segment.flags & SYN != 0)
        connection = Connection(self, syn)
        await connection.send_flags(SYN | ACK)
        return connection

    async def connect(self, address: str, port: int, ours: int = 4000) -> Connection:
        """A connection to a server, from our port `ours`. Raises ConnectionRefusedError for a reset."""
        here = (self.address, ours)
        syn = Segment(here, (address, port), 999, 0, SYN)
        await self.send(ethernet(self.gateway_mac, self.mac, IPV4, syn.pack()))
        there = (address, port)
        answer = await self._segment(lambda segment: (segment.source, segment.destination) == (there, here))
        if answer.flags & RST:
            raise ConnectionRefusedError
        connection = Connection(self, answer)
        await connection.send_flags(ACK)
        return connection

    async def _segment(self, wanted: Callable[[Segment], bool]) -> Segment:
        while True:
            packet = await self.packet(lambda packet: packet.protocol == TCP)
            if wanted(segment := parse_tcp(packet)):
                return segment


class Connection:
    """The guest's side of a TCP connection whose peer has sent its SYN.

    No retransmission, no window, in order only.
    """

    def __init__(self, guest: Guest, syn: Segment) -> None:
        self.guest = guest
        self.peer, self.here = syn.source, syn.destination
        self._seq, self._ack = 1000, syn.seq + 1

    async def send_flags(self, flags: int, data: bytes = b"") -> None:
        segment = Segment(self.here, self.peer, self._seq, self._ack, flags, data)
        self._seq += len(data) + bool(flags & (SYN | FIN))
        await self.guest.send(ethernet(self.guest.gateway_mac, self.guest.mac, IPV4, segment.pack()))

    async def send(self, data: bytes) -> None:
        """Send, and wait until all of it is acknowledged."""
        await self.send_flags(PSH | ACK, data)
        await self._next(lambda segment: segment.ack == self._seq)

    async def receive(self, size: int) -> bytes:
        """The next `size` bytes."""
        data = b""
        while len(data) < size:
            segment = await self._next(lambda segment: bool(segment.payload))
            data += segment.payload
            self._ack += len(segment.payload)
            await self.send_flags(ACK)
        return data

    async def finished(self) -> None:
        """Wait for the peer's FIN, and acknowledge it."""
        await self._next(lambda segment: segment.flags & FIN != 0)
        self._ack += 1
        await self.send_flags(ACK)

    async def _next(self, wanted: Callable[[Segment], bool]) -> Segment:
        return await self.guest._segment(
            lambda segment: (
                (segment.source, segment.destination) == (self.peer, self.here)
                and segment.seq == self._ack
                and wanted(segment)
            )
        )
