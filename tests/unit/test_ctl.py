"""wirebay ctl: what it asks, what it prints, and how it fails."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.unit.control import Desk, give_lease
from tests.unit.lab import lab
from wirebay.cli import ctl, ctl_act, main
from wirebay.cli.ctl import find_socket
from wirebay.cli.ctl_act import event_line
from wirebay.cli.ctl_read import duration, ends
from wirebay.cli.ctl_verb import printable
from wirebay.control.client import Client, RefusedError
from wirebay.control.commands.forwards import forward_members
from wirebay.control.server import controlled
from wirebay.errors import HostError, OptionError
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.ports.forwards import describe_forward
from wirebay.ports.user import UserPort


class Shell:
    """Runs `wirebay ctl` against a network in this process."""

    def __init__(self, path: Path, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.desk = desk
        self._capsys = capsys

    async def run(self, *words: str, status: int = 0) -> str:
        """What the command prints; without status 0, what it complains."""
        done = await asyncio.to_thread(main, ["ctl", "--socket", str(self.path), *words])
        out, err = self._capsys.readouterr()
        assert done == status, err
        return str(err if status else out)

    async def json(self, *words: str) -> object:
        """The same with --json, read."""
        return json.loads(await self.run(*words, "--json"))


@pytest.fixture
async def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> AsyncIterator[Shell]:
    path = tmp_path / "control.sock"
    async with lab() as (network, fake), controlled(network, str(path)):
        yield Shell(path, Desk(network, fake), capsys)


@pytest.mark.anyio
async def test_status(shell: Shell) -> None:
    await shell.desk.user()
    first, second, third = (await shell.run("status")).splitlines()
    assert first.startswith("wirebay ")
    assert first.endswith(", worker 4242")
    assert second.startswith("up for 0:00:")
    assert third == "ports: 1, hubs: 0"
    found = await shell.json("status")
    assert isinstance(found, dict)
    assert found["worker-pid"] == 4242


@pytest.mark.anyio
async def test_ports(shell: Shell) -> None:
    await shell.desk.network.join(await shell.desk.user())
    await shell.desk.user("another")
    assert await shell.run("ports") == (
        "PORT     TYPE  HUB  WHAT\n"
        "u0       user  #1   user network 10.0.2.0/24 and fec0::/64\n"
        "another  user  -    user network 10.0.2.0/24 and fec0::/64\n"
    )
    assert await shell.json("ports") == await shell.desk.ask("wirebay-query-ports")


@pytest.mark.anyio
async def test_stats(shell: Shell) -> None:
    await shell.desk.user()
    await shell.desk.user("u1")
    counters: dict[str, object] = {"rx_frames": 1, "rx_bytes": 1500, "tx_frames": 22, "tx_bytes": 3}
    counters |= {"flows": {"tcp": 2, "udp": 0, "icmp": 1}, "drops": {"restricted": 7}}
    shell.desk.fake.answers["stats"] = lambda _: {"ok": {"ports": {"u0": counters, "u1": {}}}}
    assert await shell.run("stats") == (
        "PORT  RX FRAMES  RX BYTES  TX FRAMES  TX BYTES  FLOWS          DROPS\n"
        "u0            1      1500         22         3  tcp 2, icmp 1  restricted 7\n"
        "u1            0         0          0         0  -              -\n"
    )
    assert await shell.json("stats", "u0") == {"u0": counters}
    assert await shell.run("stats", "zz", status=1) == "wirebay: Device 'zz' not found\n"


@pytest.mark.anyio
async def test_leases(shell: Shell) -> None:
    give_lease(await shell.desk.user(), 1, "vm")
    head, line = (await shell.run("leases")).splitlines()
    assert head == "PORT  MAC                ADDRESS    NAME  EXPIRES IN"
    assert line.startswith("u0    52:54:00:00:00:01  10.0.2.15  vm    2")
    assert len(await shell.desk.ask("wirebay-query-leases")) == 1


@pytest.mark.anyio
async def test_forwards_are_listed_added_and_removed(shell: Shell) -> None:
    await shell.desk.user()
    said = await shell.run("forwards", "add", "tcp:127.0.0.1:0-:22")
    source, target = said.strip().split(" to ")
    assert target == "10.0.2.15:22"
    assert (await shell.run("forwards")).splitlines()[1].split() == ["u0", "hostfwd", source, target]
    socket.create_connection(("127.0.0.1", int(source.rpartition(":")[2]))).close()
    assert await shell.json("forwards", "--port", "u0") == await shell.desk.ask("wirebay-query-forwards")
    assert await shell.json("forwards", "--port", "zz") == []
    assert await shell.run("forwards", "remove", source) == ""
    gone = f"wirebay: host forwarding rule '{source}' is not open\n"
    assert await shell.run("forwards", "remove", source, status=1) == gone
    opened = await shell.json("forwards", "add", "udp:127.0.0.1:0-:53")
    assert isinstance(opened, dict)
    assert opened["protocol"] == "udp"


@pytest.mark.anyio
async def test_forwards_from_guests_have_their_own_rules(shell: Shell) -> None:
    await shell.desk.user()
    rule = "udp:[fec0::7]:7-udp:127.0.0.1:7"
    said = await shell.run("forwards", "add", "--guestfwd", rule)
    assert said == "udp:[fec0::7]:7 to udp:127.0.0.1:7\n"
    assert await shell.run("forwards") == (
        "PORT  TYPE      FROM             TO\nu0    guestfwd  udp:[fec0::7]:7  udp:127.0.0.1:7\n"
    )
    await shell.run("forwards", "remove", "--guestfwd", "udp:[fec0::7]:7")
    assert await shell.json("forwards") == []
    refusal = await shell.run("forwards", "add", "--guestfwd", "bad", status=1)
    assert refusal == "wirebay: Invalid guest forwarding rule 'bad'\n"


@pytest.mark.parametrize(
    "text",
    [
        "tcp:127.0.0.1:80 to 10.0.2.15:8080",
        "udp:[::1]:53 to [fec0::15]:5353",
        "tcp:0.0.0.0%eth0:8000..8010 to 10.0.2.15:80..90",
        "unix:/run/a.sock to 10.0.2.15:22",
    ],
)
def test_a_forward_is_told_as_its_port_describes_it(text: str) -> None:
    source, target = text.split(" to ")
    ports = 11 if ".." in target else 1
    rule = parse_hostfwd(f"{source}-{target.partition('..')[0]}")
    assert describe_forward(rule) == text
    port = cast(UserPort, SimpleNamespace(id="u0"))
    members = json.loads(json.dumps(forward_members(port, rule)))
    assert members["ports"] == ports
    assert " to ".join(ends(members)) == text


@pytest.mark.anyio
async def test_ping(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctl_act, "INTERVAL", 0)
    await shell.desk.user()
    shell.desk.pong()
    lines = (await shell.run("ping", "u0", "-c", "2")).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("56 bytes from 10.0.2.15: ttl=64 time=") for line in lines)
    answers = await shell.json("ping", "u0", "10.0.2.77")
    assert isinstance(answers, list)
    assert answers[0]["address"] == "10.0.2.77"


@pytest.mark.anyio
async def test_a_guest_that_does_not_answer_is_status_1(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shell.desk.user()
    monkeypatch.setattr(Client, "execute", silent_guest)
    sentence = "the guest at 10.0.2.15 did not answer a ping within 1 s"
    assert await shell.run("ping", "u0", status=1) == f"wirebay: {sentence}\n"


def silent_guest(client: Client, command: str, **arguments: object) -> object:
    if command == "qmp_capabilities":
        return client.request({"execute": command})
    raise RefusedError("DeviceNotActive", "the guest at 10.0.2.15 did not answer a ping within 1 s")


@pytest.mark.anyio
async def test_a_ping_of_nothing_is_not_repeated(shell: Shell) -> None:
    assert await shell.run("ping", "zz", "-c", "9", status=1) == "wirebay: Device 'zz' not found\n"


@pytest.mark.anyio
async def test_hmp_prints_the_answer(shell: Shell) -> None:
    await shell.desk.user()
    answer = "u0: index=0,type=user,net=10.0.2.0,restrict=off\n"
    assert await shell.run("hmp", "info network") == answer
    assert await shell.run("hmp", "info", "network") == answer


@pytest.mark.anyio
async def test_qmp_passes_a_request_on(shell: Shell) -> None:
    running = {"status": "running", "running": True}
    assert json.loads(await shell.run("qmp", "query-status")) == running
    assert json.loads(await shell.run("qmp", '{"execute": "query-status", "id": 3}')) == running
    await shell.run("qmp", "netdev_add", '{"type": "user", "id": "u7"}')
    assert "u7" in shell.desk.network.ports
    refusal = await shell.run("qmp", "netdev_del", '{"id": "zz"}', status=1)
    assert refusal == "wirebay: Device 'zz' not found\n"


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["text", "json"])
async def test_monitor_prints_events_until_the_other_side_ends(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "control.sock"
    words = ["ctl", "monitor", "--socket", str(path), *(["--json"] if form == "json" else [])]
    async with lab() as (network, fake), controlled(network, str(path)):
        port = await Desk(network, fake).user()
        watching = asyncio.create_task(asyncio.to_thread(main, words))
        number, seen = 0, ""
        while "WIREBAY_LEASE" not in seen:  # until it has connected, there is nobody to tell
            number += 1
            network.tell("WIREBAY_LEASE", {"netdev-id": port.id, "number": number})
            await asyncio.sleep(0)
            seen += capsys.readouterr().out
    assert await watching == 0
    line = seen.splitlines()[0]
    if form == "json":
        assert json.loads(line)["data"]["netdev-id"] == "u0"
    else:
        assert " WIREBAY_LEASE netdev-id=u0 number=" in line


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "wirebay ctl: give a command: status, ports, "),
        (["bogus"], "wirebay ctl: unknown command 'bogus'; the commands are status, ports, "),
        (["--socket"], "wirebay ctl: argument --socket: expected one argument"),
        (["status", "--colour"], "wirebay ctl status: unrecognized arguments: --colour"),
        (["forwards", "add"], "wirebay ctl forwards: there is no RULE to add"),
        (
            ["forwards", "--guestfwd"],
            "wirebay ctl forwards: --guestfwd says what to add or remove; all are l",
        ),
        (["forwards", "add", "tcp:bad"], "wirebay: Invalid host forwarding rule 'tcp:bad' (Missing : sep"),
        (["ping"], "wirebay ctl ping: the following arguments are required: ID"),
        (["ping", "u0", "-c", "0"], "wirebay ctl ping: -c expects a count of 1 or more"),
        (["hmp"], "wirebay ctl hmp: the following arguments are required: WORD"),
        (["qmp", "{"], "wirebay ctl qmp: what begins with { must be a JSON object, and so must ARGUMENTS"),
        (["qmp", "x", "[]"], "wirebay ctl qmp: what begins with { must be a JSON object, and so must"),
    ],
)
def test_wrong_usage_is_one_sentence_with_status_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ctl", *words]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(sentence)
    assert len(complaint.splitlines()) == 1


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for sockets."""
    monkeypatch.delenv(ctl.ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "wirebay").mkdir()
    return tmp_path / "wirebay"


@contextmanager
def listening(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen(8)
        yield listener


def test_a_socket_that_is_named_comes_before_all_others(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(runtime / "lab.sock"):
        assert find_socket(None) == runtime / "lab.sock"
        monkeypatch.setenv(ctl.ENVIRONMENT, "/env")
        assert find_socket(None) == Path("/env")
        assert find_socket("/given") == Path("/given")


def test_only_a_socket_where_somebody_listens_counts(runtime: Path) -> None:
    with listening(runtime / "dead.sock"), listening(runtime / "other"):
        pass
    with listening(runtime / "lab.sock"):
        assert find_socket(None) == runtime / "lab.sock"


def test_without_a_socket_the_remedy_is_named(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError) as error:
        find_socket(None)
    remedy = "give --socket PATH, or set WIREBAY_CONTROL"
    assert str(error.value) == f"which wirebay? None has its socket in {runtime}: {remedy}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with pytest.raises(OptionError, match=r"which wirebay\? Give --socket PATH, or set WIREBAY_CONTROL"):
        find_socket(None)


def test_among_several_one_must_be_named(runtime: Path) -> None:
    with listening(runtime / "a.sock"), listening(runtime / "b.sock"), pytest.raises(OptionError) as error:
        find_socket(None)
    listed = f"which wirebay? Several are in {runtime}: give --socket with one of a.sock, b.sock"
    assert str(error.value) == listed


def test_where_nobody_listens_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "sock"
    with pytest.raises(HostError) as error:
        Client(place)
    assert str(error.value) == f"no wirebay can be reached at '{place}': No such file or directory"
    with listening(place):
        pass
    with pytest.raises(HostError, match="Connection refused"):
        Client(place)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"SSH-2.0\n", "what listens at '{}' does not speak QMP"),
        (b"[]\n", "what listens at '{}' does not speak QMP"),
        (b'{"hello": 1}\n', "what listens at '{}' does not speak QMP"),
        (b"", "the wirebay at '{}' ended the connection"),
        (b'{"error": {"class": "GenericError", "desc": "16 clients"}}\n', "16 clients"),
        (b'{"QMP": {}}\n', "the wirebay at '{}' ended the connection"),
    ],
)
def test_a_server_that_is_none_is_told_in_a_sentence(tmp_path: Path, answer: bytes, sentence: str) -> None:
    place = tmp_path / "sock"
    with listening(place) as listener:

        def serve() -> None:
            peer = listener.accept()[0]
            peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR)
            peer.recv(100)
            peer.close()

        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(HostError) as error:
            Client(place)
        serving.join()
    assert str(error.value) == sentence.format(place)


def test_what_guests_say_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\u009bc") == "a?[2Jb?c"
    event = {"event": "X", "data": {"name": "\x1b"}, "timestamp": {"seconds": 1, "microseconds": 2000}}
    assert event_line(event).endswith(":01.002 X name=?")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (3661.9, "1:01:01"), (90000, "25:00:00"), (None, "never")]
)
def test_durations_are_hours_minutes_and_seconds(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.anyio
async def test_flows_of_every_network_are_fetched_page_by_page(shell: Shell) -> None:
    await shell.desk.user()
    await shell.desk.user("u1")

    def page(request: dict[str, object]) -> dict[str, object]:
        ends = {"guest": "fec0::15", "guest_port": 5, "peer": None, "peer_port": None}
        moved = {"from_guest": 10, "to_guest": 2000, "age_ms": 61_000}
        number = request["first"]
        flow = {"proto": "udp", "state": f"page{number}", **ends, **moved}
        return {"ok": {"flows": [flow], "next": 7 if number == 0 else None}}

    shell.desk.fake.answers["flows"] = page
    assert await shell.run("flows") == (
        "PORT  PROTO  STATE  GUEST         PEER  SENT  RECEIVED  AGE\n"
        "u0    udp    page0  [fec0::15]:5  -       10      2000  0:01:01\n"
        "u0    udp    page7  [fec0::15]:5  -       10      2000  0:01:01\n"
        "u1    udp    page0  [fec0::15]:5  -       10      2000  0:01:01\n"
        "u1    udp    page7  [fec0::15]:5  -       10      2000  0:01:01\n"
    )
    found = await shell.json("flows", "u1")
    assert isinstance(found, list)
    assert [(flow["netdev-id"], flow["state"], flow["age"]) for flow in found] == [
        ("u1", "page0", 61),
        ("u1", "page7", 61),
    ]


@pytest.mark.anyio
async def test_ports_are_added_moved_and_removed(shell: Shell) -> None:
    network = shell.desk.network
    assert await shell.run("add", "user,id=u0") == "u0: user network 10.0.2.0/24 and fec0::/64\n"
    await shell.run("move", "u0", "hub3")
    assert network.ports["u0"].hub is network.hubs["hub3"]
    await shell.run("link", "u0", "down")
    assert not network.ports["u0"].link
    assert await shell.run("remove", "u0") == ""
    assert not network.ports
    assert await shell.run("remove", "u0", status=1) == "wirebay: Device 'u0' not found\n"


@pytest.mark.anyio
async def test_a_port_that_is_none_is_wrong_usage(shell: Shell) -> None:
    assert await shell.run("add", "user", status=2) == "wirebay: Parameter 'id' is missing\n"


@pytest.mark.anyio
async def test_reload_and_quit_reach_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> None:
    done: list[str] = []

    class Process:
        def quit(self) -> None:
            done.append("quit")

        async def reload(self) -> dict[str, list[str]]:
            added = [] if done else ["a", "b"]
            done.append("reload")
            return {"added": added, "removed": [], "replaced": [], "updated": added[:1]}

    path = tmp_path / "control.sock"
    async with lab() as (network, fake), controlled(network, str(path), Process()):
        shell = Shell(path, Desk(network, fake), capsys)
        assert await shell.run("reload") == "opened a, b; rules of a\n"
        assert await shell.run("reload") == "nothing has changed\n"
        assert await shell.json("reload") == {"added": [], "removed": [], "replaced": [], "updated": []}
        assert await shell.run("quit") == ""
    assert done == ["reload"] * 3 + ["quit"]
