"""A client's conversation: negotiation, order, errors. The sentences are those of QEMU 7.2."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from wirebay.control.session import Session
from wirebay.control.table import Command, Context, QmpError
from wirebay.errors import HostError
from wirebay.network import Network

pytestmark = pytest.mark.anyio


async def echo(context: Context, **given: object) -> dict[str, object]:
    return {"uptime": context.uptime(), **given}


async def fail(context: Context, how: str) -> None:
    raise {"qmp": QmpError("no", "DeviceNotFound"), "host": HostError("taken")}.get(how, ZeroDivisionError())


COMMANDS = {
    "echo": Command("echo", echo, {"a-text": "string", "number": "integer?", "wait": "number?"}),
    "fail": Command("fail", fail, {"how": "string"}),
}


def session(*, ready: bool = True) -> Session:
    made = Session(Context(cast(Network, None), lambda: 7.0), COMMANDS)
    made.ready = ready
    return made


async def ask(to: Session, command: str, **members: object) -> Any:
    return await to.answer(json.dumps({"execute": command, **members}).encode())


def error(sentence: str, kind: str = "GenericError", **members: object) -> dict[str, object]:
    return {"error": {"class": kind, "desc": sentence}, **members}


async def test_nothing_is_done_before_the_capabilities_are_negotiated() -> None:
    client = session(ready=False)
    expected = "Expecting capabilities negotiation with 'qmp_capabilities'"
    assert await ask(client, "echo", id=7) == error(expected, "CommandNotFound", id=7)
    assert await ask(client, "qmp_capabilities", id="a") == {"return": {}, "id": "a"}
    assert client.ready
    again = "Capabilities negotiation is already complete, command ignored"
    assert await ask(client, "qmp_capabilities") == error(again, "CommandNotFound")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"x": 1}, "Parameter 'x' is unexpected"),
        ({"enable": "oob"}, "Invalid parameter type for 'enable', expected: array"),
        ({"enable": ["oob"]}, "Parameter 'enable[0]' does not accept value 'oob'"),
    ],
)
async def test_capabilities_that_are_not_there_are_refused(
    arguments: dict[str, object], sentence: str
) -> None:
    client = session(ready=False)
    assert await ask(client, "qmp_capabilities", arguments=arguments) == error(sentence)
    assert not client.ready
    assert await ask(client, "qmp_capabilities", arguments={"enable": []}) == {"return": {}}


async def test_an_id_of_any_kind_comes_back() -> None:
    for ident in (None, 0, "x", [1, {"a": 2}], {"b": None}):
        arguments = {"a-text": "t"}
        reply = await ask(session(), "echo", arguments=arguments, id=ident)
        assert reply == {"return": {"uptime": 7.0, "a_text": "t"}, "id": ident}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "Parameter 'a-text' is missing"),
        ({"a-text": 1}, "Invalid parameter type for 'a-text', expected: string"),
        ({"a-text": None}, "Invalid parameter type for 'a-text', expected: string"),
        ({"a-text": "", "number": True}, "Invalid parameter type for 'number', expected: integer"),
        ({"a-text": "", "number": 1.5}, "Invalid parameter type for 'number', expected: integer"),
        ({"a-text": "", "wait": "1"}, "Invalid parameter type for 'wait', expected: number"),
        ({"a-text": "", "a_text": ""}, "Parameter 'a_text' is unexpected"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object], sentence: str) -> None:
    assert await ask(session(), "echo", arguments=arguments, id=1) == error(sentence, id=1)


async def test_a_command_that_is_none_has_not_been_found() -> None:
    expected = error("The command foo has not been found", "CommandNotFound")
    assert await ask(session(), "foo") == expected


async def test_errors_have_a_class_and_the_sentence(caplog: pytest.LogCaptureFixture) -> None:
    assert await ask(session(), "fail", arguments={"how": "qmp"}) == error("no", "DeviceNotFound")
    assert await ask(session(), "fail", arguments={"how": "host"}) == error("taken")
    assert not caplog.records
    bug = await ask(session(), "fail", arguments={"how": "bug"}, id=1)
    assert bug == error("the command failed; the log says why", id=1)
    assert "ZeroDivisionError" in caplog.text


async def test_what_is_no_request_is_answered() -> None:
    assert await session().answer(b"garbage") == error("JSON parse error, invalid keyword 'garbage'")
    assert await session().answer(b'{"id": 3}') == error("QMP input lacks member 'execute'", id=3)
