"""VDE: its messages, and clients that do not keep to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fake_worker import FakeWorker
from tests.unit.lab import lab, open_descriptors, until
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.ports import vde, vde_server
from wirebay.ports.vde_message import (
    MAX_TEXT,
    MIN_REQUEST,
    REPLY_SIZE,
    Request,
    VdeError,
    pack_address,
    parse_address,
    parse_request,
)

pytestmark = pytest.mark.anyio

PATHS = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=107)
TEXTS = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=MAX_TEXT)


def test_a_request_is_as_libvdeplug_writes_it() -> None:
    data = Request(path="/run/x", port=3, text="me").pack()
    head = struct.pack("=III", 0xFEEDFACE, 3, 3 << 8)
    assert data == head + struct.pack("=H108s", socket.AF_UNIX, b"/run/x") + b"me"
    assert len(pack_address("/run/x")) == REPLY_SIZE == 110


@given(path=PATHS, port=st.integers(0, 0xFFFF), text=TEXTS)
def test_a_request_comes_back_as_it_was(path: str, port: int, text: str) -> None:
    request = Request(path=path, port=port, text=text)
    assert parse_request(request.pack()) == request
    assert parse_address(pack_address(path)) == path


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    for parse in (parse_request, parse_address):
        with contextlib.suppress(VdeError):
            parse(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Request(path="/x").pack()[: MIN_REQUEST - 1], "is cut off"),
        (bytes(4) + Request(path="/x").pack()[4:], "magic number"),
        (struct.pack("=III", 0xFEEDFACE, 2, 0) + pack_address("/x"), "is of version 2, not 3"),
        (struct.pack("=III", 0xFEEDFACE, 3, 9) + pack_address("/x"), "of an unknown type, 9"),
        (struct.pack("=III", 0xFEEDFACE, 3, 0) + bytes(110), "is not the path of a unix socket"),
    ],
)
def test_what_is_no_request_is_told_why(data: bytes, sentence: str) -> None:
    with pytest.raises(VdeError, match=sentence):
        parse_request(data)


@asynccontextmanager
async def switch(path: Path, limit: int = 4) -> AsyncIterator[tuple[Network, FakeWorker]]:
    async with lab() as (network, fake):
        await network.add("vde", id="v", sock=path, server=True, max_peers=limit)
        yield network, fake


async def ask(directory: Path, request: bytes) -> tuple[socket.socket, bytes]:
    """A control connection, and what the switch answers."""
    loop = asyncio.get_running_loop()
    control = socket.socket(socket.AF_UNIX)
    control.setblocking(False)
    await loop.sock_connect(control, str(directory / "ctl"))
    await loop.sock_sendall(control, request)
    return control, await asyncio.wait_for(loop.sock_recv(control, 500), 5)


def client_socket(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    return sock


async def test_a_client_gets_a_socket_that_is_connected_to_its_own(tmp_path: Path) -> None:
    directory, own = tmp_path / "switch", tmp_path / "own"
    before = open_descriptors()
    async with switch(directory) as (network, fake):
        with client_socket(own) as data:
            control, reply = await ask(directory, Request(path=str(own), text="a test").pack())
            place = Path(parse_address(reply))
            assert place.parent == directory
            assert network.ports["v/1"].describe() == "v/1: vde client a test"
            (fd,) = fake.fds_of(fake.sent("dgram_attach")[0])
            with socket.socket(fileno=os.dup(fd)) as theirs:
                assert theirs.getpeername() == str(own)
                theirs.send(b"frame")
                assert data.recv(10) == b"frame"
            with control:
                pass
            await asyncio.wait_for(until(lambda: not place.exists()), 5)
        await fake.asked("port_remove")
    assert not directory.exists()
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (bytes(MIN_REQUEST), "magic number"),
        (Request(path="/nonexistent/socket").pack(), "cannot be reached: No such file or directory"),
        (Request(path="/dev/null").pack(), "cannot be reached: Connection refused"),
    ],
)
async def test_a_bad_client_is_hung_up_on_with_one_sentence_and_the_next_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_: bytes, sentence: str
) -> None:
    directory, own = tmp_path / "switch", tmp_path / "own"
    async with switch(directory, 1):
        control, reply = await ask(directory, request_)
        control.close()
        assert reply == b""
        with client_socket(own):
            control, reply = await ask(directory, Request(path=str(own)).pack())
            control.close()
            assert reply
    (text,) = caplog.messages
    assert sentence in text


async def test_a_client_that_says_nothing_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vde_server, "REQUEST_SECONDS", 0.01)
    async with switch(tmp_path / "switch"):
        control, reply = await ask(tmp_path / "switch", b"\xce")
        control.close()
        assert reply == b""
    assert "made no request within 0 seconds" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket that is somebody else's")
async def test_a_client_cannot_have_us_write_to_somebody_elses_socket(tmp_path: Path) -> None:
    own, control = tmp_path / "own", socket.socketpair()
    with client_socket(own), control[0], control[1], socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as data:
        os.chown(own, 12345, -1)

        class Nobody:
            """A connection of a client that is not root."""

            def getsockopt(self, *_: object) -> bytes:
                return struct.pack("=iII", 1, 54321, 54321)

        with pytest.raises(HostError, match="named a socket that is not its own"):
            vde_server.reach(data, str(own), Nobody())  # type: ignore[arg-type]
        link = tmp_path / "link"
        link.symlink_to(own)
        with pytest.raises(HostError, match="cannot be reached"):
            vde_server.reach(data, str(link), control[0])


async def test_a_switch_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vde, "ANSWER_SECONDS", 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "ctl"))
        listener.listen()
        async with lab() as (network, _):
            with pytest.raises(HostError, match=f"the switch {tmp_path} does not answer"):
                await network.add("vde", id="v", sock=tmp_path)
    assert names(tmp_path) == ["ctl"]


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_groups_and_paths_are_checked_first(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        with pytest.raises(HostError, match="group=nobody-has-it: there is no such group"):
            await network.add("vde", id="v", sock=tmp_path, group="nobody-has-it")
        with pytest.raises(OptionError, match="is too long"):
            await network.add("vde", id="v", sock="/" + "x" * 105, server=True)
        assert not fake.requests
