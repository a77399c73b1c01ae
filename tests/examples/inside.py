"""What the demo's namespace guest runs, step by step, each told to the host in lines that start with @.

    inside.py PLAN       PLAN: a JSON object; its "steps" name functions below, the rest are their arguments

Plain Python and nothing of Wirebay's: a guest knows only the network it was given.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Plan = dict[str, Any]
TAP = "tap0"
SIOCGIFHWADDR = 0x8927
# RFC 2132: option codes, and the two kinds of message sent here
MESSAGE_TYPE, REQUESTED_ADDRESS, SERVER_ID, WANTED = 53, 50, 54, 55
DISCOVER, REQUEST, ACK = 1, 3, 5
COOKIE = b"\x63\x82\x53\x63"
DHCP_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")


def say(word: str, name: str, **values: object) -> None:
    pairs = "".join(f" {key}={value}" for key, value in values.items())
    print(f"@{word} {name}{pairs}", flush=True)


def lease(plan: Plan) -> dict[str, object]:
    """Discover and request a lease as a DHCP client does (RFC 2131, section 3.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, TAP.encode())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.bind(("", 68))
        client.settimeout(5)
        offer = ask(client, DISCOVER, {})
        chosen = {REQUESTED_ADDRESS: offer["address"], SERVER_ID: offer[SERVER_ID]}
        granted = ask(client, REQUEST, chosen)
    if granted[MESSAGE_TYPE] != bytes([ACK]):
        return {"error": f"the request was answered with message type {granted[MESSAGE_TYPE][0]}"}
    return {
        "ip": dotted(granted["address"]),
        "router": dotted(granted[3]),
        "dns": dotted(granted[6]),
        "mtu": int.from_bytes(granted.get(26, b"")) or "",
    }


def ask(client: socket.socket, kind: int, options: dict[int, bytes]) -> dict[int | str, bytes]:
    """Broadcast one message and return the answer to it: options by code, and the "address" it gives."""
    mac = fcntl.ioctl(client, SIOCGIFHWADDR, struct.pack("40s", TAP.encode()))[18:24]
    transaction = int.from_bytes(os.urandom(4))
    none = bytes(4)
    header = DHCP_HEADER.pack(
        1, 1, 6, 0, transaction, 0, 0x8000, none, none, none, none, mac, b"", b"", COOKIE
    )
    options = {MESSAGE_TYPE: bytes([kind]), **options, WANTED: bytes([1, 3, 6, 26, 51])}
    body = b"".join(bytes([code, len(value)]) + value for code, value in options.items())
    client.sendto(header + body + b"\xff", ("255.255.255.255", 67))
    while True:
        answer = client.recv(2048)
        if DHCP_HEADER.unpack_from(answer)[4] == transaction:
            return {**options_of(answer[DHCP_HEADER.size :]), "address": answer[16:20]}


def options_of(data: bytes) -> dict[int | str, bytes]:
    found: dict[int | str, bytes] = {}
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found


def dotted(address: bytes) -> str:
    return socket.inet_ntoa(address[:4])


def dns(plan: Plan) -> dict[str, object]:
    server = Path("/etc/resolv.conf").read_text().split()[1]
    answers = socket.getaddrinfo(plan["name"], None, socket.AF_INET, socket.SOCK_STREAM)
    return {"server": server, "answer": answers[0][4][0]}


def ping(plan: Plan) -> dict[str, object]:
    """Three echo requests (RFC 792) to the gateway."""
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(2)
        raw.connect((plan["host"], 0))
        for sequence in range(3):
            packet = echo_request(sequence)
            begin = time.perf_counter()
            raw.send(packet)
            while (reply := raw.recv(2048)[20:])[0] != 0 or reply[4:] != packet[4:]:
                pass
            times.append((time.perf_counter() - begin) * 1000)
    return {"sent": 3, "got": len(times), "ms": f"{min(times):.2f}"}


def echo_request(sequence: int) -> bytes:
    body = struct.pack("!HH", os.getpid() & 0xFFFF, sequence) + b"wirebay!" * 7
    total = sum(struct.unpack(f"!{len(body) // 2}H", body)) + 0x0800
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", 8, 0, ~total & 0xFFFF) + body


def download(plan: Plan) -> dict[str, object]:
    with dial(plan["host"], plan["download"]) as connection:
        data = read_all(connection)
    say("moved", "download")
    Path("/dev/shm", plan["token"]).write_bytes(data)
    return {"sha": hashlib.sha256(data).hexdigest()}


def upload(plan: Plan) -> dict[str, object]:
    """Sends back what came by `download`, out of a file, so that nothing of it stays in this process."""
    path = Path("/dev/shm", plan["token"])
    with path.open("rb") as file, dial(plan["host"], plan["upload"]) as connection:
        path.unlink()
        connection.sendfile(file)
    return {}


def inbound(plan: Plan) -> dict[str, object]:
    """Echo what a client that came through the forward sends."""
    with socket.create_server(("", plan["inbound"])) as server:
        server.settimeout(20)
        connection, peer = server.accept()
    with connection:
        connection.sendall(read_all(connection))
    return {"peer": peer[0]}


def give(plan: Plan) -> dict[str, object]:
    """Serve a payload to the other guest on the hub."""
    data = os.urandom(plan["size"])
    with socket.create_server(("", plan["inbound"])) as server:
        server.settimeout(20)
        say("sum", "give", sha=hashlib.sha256(data).hexdigest())
        connection, _ = server.accept()
    with connection:
        connection.sendall(data)
    return {}


def take(plan: Plan) -> dict[str, object]:
    """Fetch what the other guest on the hub gives."""
    with dial(plan["peer"], plan["inbound"]) as connection:
        data = read_all(connection)
    say("moved", "take")
    return {"sha": hashlib.sha256(data).hexdigest(), "size": len(data)}


def dial(address: str, port: int) -> socket.socket:
    """Connect; a server that is just being started gets ten seconds."""
    end = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((address, port), timeout=20)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def read_all(connection: socket.socket) -> bytearray:
    data = bytearray()
    while part := connection.recv(1 << 20):
        data += part
    return data


STEPS: dict[str, Callable[[Plan], dict[str, object]]] = {
    step.__name__: step for step in (lease, dns, ping, download, upload, inbound, give, take)
}


def main(plan: Plan) -> None:
    for name in plan["steps"]:
        say("start", name)
        try:
            values = STEPS[name](plan)
        except OSError as error:
            values = {"error": error}
        say("done", name, **values)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
