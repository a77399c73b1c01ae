"""Servers for a host of a test's own (site.py): HTTP on port 80, and DNS on 53 by UDP and TCP.

Run as `python -m tests.guests.servers FOLDER` inside of the namespace that is the host. HTTP gives out the
folder's files; `/who` says who asked. DNS knows every name below `test`: 192.0.2.9 and 2001:db8::9.
"""

from __future__ import annotations

import functools
import http.server
import socket
import socketserver
import struct
import sys
import threading
from ipaddress import ip_address

A, AAAA, TXT = 1, 28, 16
RECORDS = {
    A: ip_address("192.0.2.9").packed,
    AAAA: ip_address("2001:db8::9").packed,
    TXT: b"\x07wirebay",
}
LONG = b"\x04long\x04test\0"  # so many records that they do not fit into a datagram of 512 bytes


def answer(query: bytes, limit: int) -> bytes:
    """The answer to a query of one question (RFC 1035 4); truncated where it would be over `limit` bytes."""
    end = query.index(0, 12) + 5
    kind = struct.unpack_from("!H", query, end - 4)[0]
    data = RECORDS.get(kind)
    count = 0 if data is None else 60 if query[12:end].startswith(LONG) else 1
    record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data or b"")) + (data or b"")
    full = 12 + end - 12 + len(record) * count
    flags = 0x8180 if query[12:end].endswith(b"\x04test\0" + query[end - 4 : end]) else 0x8183
    if full > limit or flags == 0x8183:
        flags, count = flags | (0x0200 if full > limit else 0), 0
    head = query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0)
    return head + query[12:end] + record * count


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, sock = self.request
        sock.sendto(answer(query, 512), self.client_address)


class Streams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while length := self.request.recv(2, socket.MSG_WAITALL):
            reply = answer(self.request.recv(*struct.unpack("!H", length), socket.MSG_WAITALL), 65535)
            self.request.sendall(struct.pack("!H", len(reply)) + reply)


class Pages(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/who":
            return super().do_GET()
        said = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def serve(folder: str) -> None:
    """Start all servers."""
    pages = functools.partial(Pages, directory=folder)
    for address in ("127.0.0.1", "::1", "192.0.2.9", "2001:db8::9"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for base, port, handler in (
            (socketserver.ThreadingTCPServer, 80, pages),
            (socketserver.ThreadingTCPServer, 53, Streams),
            (socketserver.ThreadingUDPServer, 53, Datagrams),
        ):
            kind = type("Server", (base,), {"address_family": family, "daemon_threads": True})
            threading.Thread(target=kind((address, port), handler).serve_forever, daemon=True).start()


if __name__ == "__main__":
    serve(sys.argv[1])
    print("up", flush=True)
    sys.stdin.read()
