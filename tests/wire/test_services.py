"""DNS, TFTP and guestfwd of the user network, reached by a guest through the real worker."""

from __future__ import annotations

import socket
from pathlib import Path

import dns.message
import pytest

from tests.wire.guest import GATEWAY, GUEST, Guest
from tests.wire.packets import ACK, FIN, PSH
from wirebay.network import Network

pytestmark = pytest.mark.anyio

DNS, SERVER = "10.0.2.3", "10.0.2.100"


async def guest_of(network: Network, **options: object) -> Guest:
    """A guest of a user network with these options, which knows the gateway."""
    user = await network.add("user", id="u0", **options)
    guest, port = await Guest.on(network, "vm0")
    await network.join(user, port)
    await guest.announce()
    return guest


async def test_a_local_name_is_resolved(network: Network) -> None:
    query = dns.message.make_query("gateway.lab.", "A")
    with await guest_of(network, domainname="lab") as guest:
        await guest.send_udp((GUEST, 4000), (DNS, 53), query.to_wire())
        source, data = await guest.datagram(4000)
    assert source == (DNS, 53)
    answer = dns.message.from_wire(data)
    assert (answer.id, str(answer.answer[0][0])) == (query.id, GATEWAY)


async def test_dns_is_served_over_tcp(network: Network) -> None:
    query = dns.message.make_query("host.wirebay.internal.", "A").to_wire()
    with await guest_of(network) as guest:
        connection = await guest.connect(DNS, 53)
        await connection.send_flags(PSH | ACK, len(query).to_bytes(2, "big") + query)
        data = await connection.receive(3)
    answer = dns.message.from_wire(data[2:])
    assert str(answer.answer[0][0]) == GATEWAY


async def test_a_file_is_served_with_blocks_that_fill_the_mtu(network: Network, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20
    (tmp_path / "kernel").write_bytes(content)
    with await guest_of(network, tftp=str(tmp_path)) as guest:

        async def ask(payload: bytes) -> bytes:
            await guest.send_udp((GUEST, 4000), (GATEWAY, 69), payload)
            return (await guest.datagram(4000))[1]

        assert await ask(b"\0\1kernel\0octet\0blksize\x009000\0") == b"\0\6blksize\x001468\0"
        received = b""
        for block in range(4):
            data = await ask(b"\0\4" + block.to_bytes(2, "big"))
            assert data[:4] == b"\0\3" + (block + 1).to_bytes(2, "big")
            received += data[4:]
        assert received == content


async def test_a_command_serves_a_connection_until_the_guest_ends_it(network: Network) -> None:
    with await guest_of(network, guestfwd=[f"tcp:{SERVER}:7-cmd:tr a-z A-Z"]) as guest:
        connection = await guest.connect(SERVER, 7)
        await connection.send_flags(PSH | ACK, b"hello")
        await connection.send_flags(FIN | ACK)
        assert await connection.receive(5) == b"HELLO"
        await connection.finished()


async def test_a_server_of_this_host_is_brought_into_the_guests_network(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        rule = f"tcp:{SERVER}:80-tcp:127.0.0.1:{server.getsockname()[1]}"
        with await guest_of(network, guestfwd=[rule], restrict=True) as guest:
            connection = await guest.connect(SERVER, 80)
            peer, _ = server.accept()
            with peer:
                peer.send(b"welcome")
                assert await connection.receive(7) == b"welcome"


async def test_a_server_that_is_not_there_is_a_refusal(network: Network, tmp_path: Path) -> None:
    rule = f"tcp:{SERVER}:80-unix:{tmp_path}/nothing"
    with await guest_of(network, guestfwd=[rule]) as guest, pytest.raises(ConnectionRefusedError):
        await guest.connect(SERVER, 80)
