"""The monitor of the real QEMU and ours, asked the same: the answers are the same."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import require_tool
from tests.wire.test_serve import serving

PATIENCE = 20
# Where the kernel picks a port, and where QEMU prints a descriptor that is the worker's here.
PICKED = re.compile(r"(?<=127\.0\.0\.1 )[0-9]{4,5}")
DESCRIPTOR = re.compile(r"(?<=\[HOST_FORWARD\]) {1,3}[0-9]{1,3}(?= )")

NETDEVS = ("user,id=u0", "user,id=u1", "hubport,id=h0,hubid=0,netdev=u1")

# Each line gets exactly one answer. What is wrong inside of JSON is told in other words here.
BEFORE = [
    '{"execute": "query-version", "id": 7}',
    '{"execute": "foo"}',
    "garbage\n",
    "[]",
    "1\n",
    '"x"',
    "{}",
    '{"id": 3}',
    '{"execute": 1}',
    '{"execute": "query-version", "bogus": 1}',
    '{"execute": "query-version", "arguments": 1, "id": [1, {"a": 2}]}',
    '{"return": 1, "execute": "query-status"}',
    '{"execute": "query-status", "id": 1, "id": 2}',
    '{"execute": "qmp_capabilities", "arguments": {"x": 1}}',
    '{"execute": "qmp_capabilities", "id": "a"}',
]


def buffer(name: str, netdev: str) -> str:
    """The request for a filter."""
    members = {"qom-type": "filter-buffer", "id": name, "netdev": netdev, "interval": 9}
    return json.dumps({"execute": "object-add", "arguments": members})


AFTER = [
    '{"execute": "qmp_capabilities", "id": "a"}',
    '{"execute": "foo"}',
    '{"execute": "query-status", "arguments": {"x": 1}}',
    "{'execute': 'foo', 'id': 'it\\'s'}",
    '{"exec-oob": "query-status"}',
    '{"execute": "netdev_del"}',
    '{"execute": "netdev_del", "arguments": {"id": 1}}',
    '{"execute": "netdev_del", "arguments": {"id": "zz"}}',
    '{"execute": "netdev_add"}',
    '{"execute": "netdev_add", "arguments": {"type": "user"}}',
    '{"execute": "netdev_add", "arguments": {"type": "user", "id": "u0"}}',
    '{"execute": "netdev_add", "arguments": {"type": "user", "id": "u6", "hostfwd": 1}}',
    '{"execute": "netdev_add", "arguments": {"type": "user", "id": "u6", "bogus": 1}}',
    '{"execute": "human-monitor-command"}',
    '{"execute": "set_link", "arguments": {"name": "zz", "up": true}}',
    '{"execute": "set_link", "arguments": {"name": "u0", "up": 1}}',
    '{"execute": "set_link", "arguments": {"name": "u0"}}',
    '{"execute": "set_link", "arguments": {"name": "u0", "up": false}}',
    buffer("f", "u0"),
    buffer("f", "u0"),
    buffer("g", "zz"),
    '{"execute": "object-add", "arguments": {"id": "g"}}',
    '{"execute": "object-add", "arguments": {"qom-type": "zz", "id": "g"}}',
    '{"execute": "object-del", "arguments": {"id": "f"}}',
    '{"execute": "object-del", "arguments": {"id": "f"}}',
]
LINES = [
    "info network",
    "info usernet",
    "hostfwd_add",
    "hostfwd_add tcp:127.0.0.1:0-:23",
    "hostfwd_add u1 tcp:127.0.0.1:0-10.0.2.99:23",
    "info usernet",
    "hostfwd_add zz tcp::0-:2",
    "hostfwd_add u0 tcp:bad",
    "hostfwd_add u0 tcp:127.0.0.1:0",
    "hostfwd_add h0 tcp::0-:2",
    "hostfwd_add a b c",
    "hostfwd_remove",
    "hostfwd_remove u0 tcp:127.0.0.1:1",
    "hostfwd_remove u0 bad",
    "hostfwd_remove u0 tcp:127.0.0.1",
    "hostfwd_remove u0 tcp:127.0.0.1:1-:22",
    "hostfwd_remove zz tcp:127.0.0.1:1",
    "help hostfwd_add",
    "help hostfwd_remove",
    "help help",
    "help info network",
    "help foo",
    "? hostfwd_add",
    "foo",
    "info foo",
    "info network x",
    "",
]


class Monitor:
    """A connection to a QMP server."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        assert "QMP" in json.loads(self._lines.readline())

    def ask(self, text: str) -> Any:
        """The answer to what is sent as it is."""
        self._socket.sendall(text.encode())
        return json.loads(self._lines.readline())

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("qmp")


@pytest.fixture(scope="module")
def qemu(directory: Path) -> Iterator[Path]:
    """QEMU without a machine."""
    program = require_tool("qemu-system-x86_64", "qemu-system-x86")
    path = directory / "qemu.sock"
    words = [word for netdev in NETDEVS for word in ("-netdev", netdev)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listening = ["-chardev", f"socket,id=c0,fd={listener.fileno()},server=on,wait=off"]
        listening += ["-mon", "chardev=c0,mode=control"]
        with subprocess.Popen(
            [program, "-M", "none", "-nodefaults", "-display", "none", *listening, *words],
            pass_fds=(listener.fileno(),),
            stderr=subprocess.DEVNULL,
        ) as process:
            yield path
            process.kill()


@pytest.fixture(scope="module")
def ours(directory: Path) -> Iterator[Path]:
    path = directory / "wirebay.sock"
    with serving(*NETDEVS, words=("--control", str(path))):
        yield path


@pytest.fixture
def both(qemu: Path, ours: Path) -> Iterator[tuple[Monitor, Monitor]]:
    monitors = Monitor(qemu), Monitor(ours)
    yield monitors
    for monitor in monitors:
        monitor.close()


def test_a_conversation_has_the_same_answers(both: tuple[Monitor, Monitor]) -> None:
    for text in (*BEFORE, *AFTER):
        theirs, ours = (monitor.ask(text) for monitor in both)
        assert ours == theirs, text


def test_the_human_monitor_has_the_same_answers(both: tuple[Monitor, Monitor]) -> None:
    for monitor in both:
        monitor.ask('{"execute": "qmp_capabilities"}')
    for line in LINES:
        request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
        theirs, ours = (comparable(monitor.ask(json.dumps(request))["return"]) for monitor in both)
        assert ours == theirs, line


# Spelled in another way here: the socket, where QEMU wants a chardev.
OTHERWISE = {"vhost-user"}


class Schema:
    """The answer to query-qmp-schema."""

    def __init__(self, monitor: Monitor) -> None:
        monitor.ask('{"execute": "qmp_capabilities"}')
        found = monitor.ask('{"execute": "query-qmp-schema"}')["return"]
        self.entities: dict[str, dict[str, Any]] = {entity["name"]: entity for entity in found}

    def names(self, kind: str) -> set[str]:
        return {name for name, entity in self.entities.items() if entity["meta-type"] == kind}

    def members(self, name: str) -> dict[str, tuple[str, bool]]:
        """Of an object: what each member is, and whether it may be left out."""
        return {
            member["name"]: (self.kind(member["type"]), "default" in member)
            for member in self.entities[name].get("members", [])
        }

    def kind(self, name: str) -> str:
        entity = self.entities[name]
        return str(
            entity.get("json-type") or {"enum": "string"}.get(entity["meta-type"], entity["meta-type"])
        )

    def cases(self, name: str) -> dict[str, str]:
        """The objects that an object goes on with, by the value of its tag."""
        return {variant["case"]: variant["type"] for variant in self.entities[name]["variants"]}


def alike(theirs: dict[str, tuple[str, bool]], ours: dict[str, tuple[str, bool]]) -> bool:
    """What both have is the same; what QEMU wants we want too. Where we read a text, a number will do."""
    needed = {name for name, (_, optional) in theirs.items() if not optional}
    return needed <= ours.keys() and all(
        ours[name] in (theirs[name], ("string", theirs[name][1]) if theirs[name][0] == "int" else None)
        for name in theirs.keys() & ours.keys()
    )


def test_the_schema_tells_the_same_of_what_both_have(both: tuple[Monitor, Monitor]) -> None:
    theirs, ours = map(Schema, both)
    for kind in ("command", "event"):
        shared = theirs.names(kind) & ours.names(kind)
        assert len(shared) > 2
        for name in shared - {"netdev_add", "object-add"}:
            arguments = [schema.members(schema.entities[name]["arg-type"]) for schema in (theirs, ours)]
            assert alike(*arguments), name
    for command in ("netdev_add", "object-add"):
        their_type, our_type = (schema.entities[command]["arg-type"] for schema in (theirs, ours))
        their_cases, our_cases = theirs.cases(their_type), ours.cases(our_type)
        assert theirs.entities[their_type]["tag"] == ours.entities[our_type]["tag"]
        shared = their_cases.keys() & our_cases.keys() - OTHERWISE
        assert len(shared) > 2
        differing = {
            case
            for case in shared
            if not alike(theirs.members(their_cases[case]), ours.members(our_cases[case]))
        }
        for c in differing:
            print(c, theirs.members(their_cases[c]), ours.members(our_cases[c]))
        assert differing == set()


def comparable(text: str) -> str:
    """An answer without the numbers that nobody chose."""
    return PICKED.sub("PORT", DESCRIPTOR.sub(" FD", text))
