"""A DNS server for tests, on a place that plays the host or one behind it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.guests.place import Place
from tests.guests.processes import started

# It gives one address to every name: its arguments are where it listens, and that address.
RESOLVER = """
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 53))
print("up", flush=True)
while True:
    query, client = sock.recvfrom(2000)
    question = query[12:query.index(0, 12) + 5]
    known = question[-4:-2] == bytes([0, 1])
    answer = bytes([192, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]) + socket.inet_aton(sys.argv[2]) if known else b""
    head = query[:2] + bytes([0x81, 0x80, 0, 1, 0, known, 0, 0, 0, 0])
    sock.sendto(head + question + answer, client)
"""


@contextmanager
def resolver(host: Place, address: str, answer: str) -> Iterator[None]:
    """A DNS server on `host`."""
    with started([*host.into, sys.executable, "-c", RESOLVER, address, answer]) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        yield
