"""The user network, seen by a guest made of Python."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from tests.wire.guest import GATEWAY, GUEST, Guest
from tests.wire.packets import (
    ACK,
    ARP,
    BROADCAST,
    FIN,
    ICMP,
    arp,
    dhcp,
    echo_request,
    ethernet,
    parse_dhcp,
)
from wirebay.network import Network
from wirebay.ports.user import UserPort

pytestmark = pytest.mark.anyio


@pytest.fixture
async def user(network: Network) -> UserPort:
    port = await network.add("user", id="u0", hostfwd=["tcp:127.0.0.1:0-:80", "udp:127.0.0.1:0-:53"])
    assert isinstance(port, UserPort)
    return port


@pytest.fixture
async def guest(network: Network, user: UserPort) -> AsyncIterator[Guest]:
    guest, port = await Guest.on(network, "vm0")
    await network.join(user, port)
    with guest:
        yield guest


@pytest.mark.parametrize("address", ["10.0.2.2", "10.0.2.3"])
async def test_the_networks_own_addresses_answer_arp(guest: Guest, address: str) -> None:
    request = arp(1, guest.mac, GUEST, bytes(6), address)
    await guest.send(ethernet(BROADCAST, guest.mac, ARP, request))
    reply = await guest.receive()
    mac = reply[6:12]
    assert reply[:14] == guest.mac + mac + b"\x08\x06"
    assert reply[14:42] == arp(2, mac, address, guest.mac, GUEST)
    assert mac[0] & 1 == 0
    assert len(reply) == 60


async def test_an_address_that_is_nobodys_does_not_answer_arp(guest: Guest) -> None:
    for address in ("10.0.2.77", GATEWAY):
        request = arp(1, guest.mac, GUEST, bytes(6), address)
        await guest.send(ethernet(BROADCAST, guest.mac, ARP, request))
    reply = await guest.receive()
    assert str(IPv4Address(reply[28:32])) == GATEWAY


async def test_the_gateway_answers_ping(guest: Guest) -> None:
    await guest.announce()
    await guest.send_ipv4(ICMP, GATEWAY, echo_request(1, b"wirebay"))
    reply = await guest.packet(lambda packet: packet.protocol == ICMP)
    assert (reply.source, reply.destination) == (GATEWAY, GUEST)
    assert reply.payload == echo_request(1, b"wirebay", kind=0)


async def test_dhcp_gives_a_lease(guest: Guest) -> None:
    guest.address = "0.0.0.0"
    client, server = ("0.0.0.0", 68), ("255.255.255.255", 67)
    await guest.send_udp(client, server, dhcp(guest.mac, {53: b"\x01"}))
    source, data = await guest.datagram(68)
    address, offer = parse_dhcp(data)
    assert (source, address, offer[53]) == ((GATEWAY, 67), GUEST, b"\x02")
    wanted = {53: b"\x03", 50: IPv4Address(address).packed, 54: offer[54]}
    await guest.send_udp(client, server, dhcp(guest.mac, wanted))
    _, data = await guest.datagram(68)
    address, lease = parse_dhcp(data)
    assert (address, lease[53]) == (GUEST, b"\x05")
    assert lease[1] == IPv4Address("255.255.255.0").packed
    assert lease[3] == IPv4Address(GATEWAY).packed
    assert lease[6] == IPv4Address("10.0.2.3").packed


async def test_two_guests_get_two_addresses(network: Network, guest: Guest) -> None:
    other, port = await Guest.on(network, "vm1", 2)
    hub = network.ports["u0"].hub
    assert hub is not None
    await hub.join(port)
    addresses = []
    with other:
        for client in (guest, other):
            await client.send_udp(("0.0.0.0", 68), ("255.255.255.255", 67), dhcp(client.mac, {53: b"\x01"}))
            addresses.append(parse_dhcp((await client.datagram(68))[1])[0])
            # Offers are broadcast: the other guest hears this one too.
            await (other if client is guest else guest).datagram(68)
    assert addresses == ["10.0.2.15", "10.0.2.16"]


async def test_a_tcp_forward_carries_data_both_ways_and_closes_both_ways(
    guest: Guest, user: UserPort
) -> None:
    await guest.announce()
    connecting = asyncio.open_connection("127.0.0.1", user.forwards[0].host_port)
    connection, (reader, writer) = await asyncio.gather(guest.accept(80), connecting)
    assert connection.peer[0] == GATEWAY  # a client on the host's loopback appears as the host
    writer.write(b"question" * 500)
    assert await connection.receive(4000) == b"question" * 500
    await connection.send(b"answer")
    assert await reader.readexactly(6) == b"answer"
    writer.write_eof()
    await connection.finished()
    await connection.send(b"after its end")
    await connection.send_flags(FIN | ACK)
    assert await reader.read() == b"after its end"
    writer.close()
    await writer.wait_closed()


async def test_a_udp_forward_carries_datagrams_both_ways(guest: Guest, user: UserPort) -> None:
    await guest.announce()
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", user.forwards[1].host_port))
        await loop.sock_sendall(client, b"question")
        source, data = await guest.datagram(53)
        assert (source[0], data) == (GATEWAY, b"question")
        await guest.send_udp((GUEST, 53), source, b"answer")
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"answer"


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
async def test_a_client_of_a_udp_forward_that_has_gone_is_reported_to_the_guest(
    guest: Guest, user: UserPort, loopback: str
) -> None:
    await guest.announce()
    host = f"[{loopback}]" if ":" in loopback else loopback
    rule = await user.add_forward(f"udp:{host}:0-:69")
    with socket.socket(socket.AF_INET6 if ":" in loopback else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"question", (loopback, rule.host_port))
        source, _ = await guest.datagram(69)
    for _ in range(2):  # the forward goes on after the first
        await guest.send_udp((GUEST, 69), source, b"answer")
        told = await guest.packet(lambda packet: packet.protocol == ICMP)
        assert (told.source, told.payload[:2]) == (GATEWAY, b"\x03\x03")
        quoted = told.payload[8:]
        ports = struct.pack("!HH", 69, source[1])
        assert quoted[16:24] == socket.inet_aton(GATEWAY) + ports
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(b"another", ("127.0.0.1", user.forwards[1].host_port))
        assert (await guest.datagram(53))[1] == b"another"


async def test_a_forward_that_was_removed_is_closed(guest: Guest, user: UserPort) -> None:
    rule = user.forwards[0]
    await user.remove_forward(rule)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", rule.host_port)


async def test_counters_name_the_flows(network: Network, guest: Guest, user: UserPort) -> None:
    await guest.announce()
    connecting = asyncio.open_connection("127.0.0.1", user.forwards[0].host_port)
    connection, (_, writer) = await asyncio.gather(guest.accept(80), connecting)
    writer.write(b"x")
    await connection.receive(1)
    stats = (await network.stats())["ports"]["u0"]
    assert (stats["kind"], stats["flows"]["tcp"]) == ("user", 1)
    writer.close()
