"""TFTP (RFC 1350, 2347 to 2349): files of a directory on the host (`FILES`), and refusals."""

from __future__ import annotations

import struct

from tests.oracles.user.script import (
    HELLO,
    HELLO6,
    Do,
    Scene,
    Step,
    ask_tftp6_for_silence,
    ask_tftp_for_silence,
    kind,
    sends,
)
from tests.oracles.user.stage import GATEWAY, GATEWAY6, GUEST, GUEST6, Stage
from tests.wire import inet

RRQ, WRQ, DATA, ACK, ERROR = range(1, 6)
# What is in the directory, and beside it.
FILES = {
    "tftp/boot": bytes(range(250)) * 4,
    "tftp/even": b"e" * 512,
    "tftp/empty": b"",
    "tftp/sub/inner": b"inner",
    "secret": b"not for guests",
}
ANSWER = kind("tftp", "tftp error", "error")


def request(operation: int, name: str, *words: str, mode: str = "octet") -> bytes:
    return struct.pack("!H", operation) + b"".join(word.encode() + b"\0" for word in (name, mode, *words))


def says(client: int, message: bytes) -> Do:
    return sends(inet.datagram((GUEST, client), (GATEWAY, 69), message))


def asks(client: int, *words: str, operation: int = RRQ, mode: str = "octet", v6: bool = False) -> Do:
    """A request from port `client`."""
    ends = (GUEST6, client), (GATEWAY6, 69)
    ends = ends if v6 else ((GUEST, client), (GATEWAY, 69))
    return sends(inet.datagram(*ends, request(operation, *words, mode=mode)))


def answers(operation: int, number: int, rest: bytes = b"") -> Do:
    """The next message to whom the last one was from."""

    def do(stage: Stage) -> None:
        if stage.heard is None or stage.heard.kind != "tftp":
            raise LookupError("no session")
        message = struct.pack("!HH", operation, number) + rest
        stage.send(inet.datagram(stage.heard.destination, stage.heard.source, message))

    return do


def transfers(*, v6: bool = False) -> list[Step]:
    silent = ask_tftp6_for_silence if v6 else ask_tftp_for_silence
    return [
        Step("a file", asks(6900, "boot", v6=v6), ANSWER),
        Step("its last block", answers(ACK, 1), ANSWER),
        Step("the last acknowledgement", answers(ACK, 2), silent=silent),
        Step("a file that ends with a full block", asks(6901, "even", v6=v6), ANSWER),
        Step("an empty block ends it", answers(ACK, 1), ANSWER),
        Step("an empty file", asks(6902, "empty", v6=v6), ANSWER),
        Step("a file in a folder", asks(6903, "sub/inner", v6=v6), ANSWER),
        Step("with a slash before it", asks(6904, "/boot", v6=v6), ANSWER),
        Step("its size", asks(6905, "boot", "tsize", "0", v6=v6), ANSWER),
        Step("given up after its size", answers(ERROR, 0, b"enough\0"), silent=silent),
        Step("large blocks", asks(6906, "boot", "blksize", "900", "tsize", "0", v6=v6), ANSWER),
        Step("the first large block", answers(ACK, 0), ANSWER),
        Step("the last large block", answers(ACK, 1), ANSWER),
        Step("no such file", asks(6907, "nothing", v6=v6), ANSWER),
    ]


TFTP = Scene(
    "tftp",
    [
        HELLO,
        *transfers(),
        Step("blocks that are too large", asks(6910, "boot", "blksize", "65464"), ANSWER),
        Step("blocks of nonsense", asks(6911, "boot", "blksize", "none"), ANSWER),
        Step("an option nobody knows", asks(6912, "boot", "colour", "red"), ANSWER),
        Step("options in capitals", asks(6913, "boot", "TSIZE", "0", mode="OCTET"), ANSWER),
        Step("the directory itself", asks(6914, "sub"), ANSWER),
        Step("out of the directory", asks(6915, "../secret"), ANSWER),
        Step("out of it and in again", asks(6916, "sub/../boot"), ANSWER),
        Step("text mode", asks(6917, "boot", mode="netascii"), ANSWER),
        Step("a mode nobody knows", asks(6918, "boot", mode="mail"), ANSWER),
        Step("a write", asks(6919, "new", operation=WRQ), silent=ask_tftp_for_silence),
        Step("a request that is cut short", says(6920, b"\0\1boot"), silent=ask_tftp_for_silence),
        Step("an acknowledgement of nothing", says(6921, b"\0\4\0\1"), silent=ask_tftp_for_silence),
    ],
    "tftp={folder}/tftp",
)
TFTP6 = Scene("tftp by IPv6", [HELLO6, *transfers(v6=True)], "tftp={folder}/tftp")
WITHOUT = Scene("tftp without a directory", [HELLO, Step("a file", asks(6900, "boot"), ANSWER)])

SCENES = (TFTP, TFTP6, WITHOUT)
