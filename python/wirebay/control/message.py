"""The messages of QMP: what comes in taken apart into requests, replies and events put together.

QMP is a stream of JSON values. They need no line ends between them, may spread over several lines, and may
have their strings in single quotes, so the stream is split by following brackets and quotes. What is no
request is answered with QEMU's sentence and the stream goes on behind it; only a message that is too long or
too deep ends the conversation, since nothing tells where it would end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wirebay.errors import OptionError
from wirebay.options.grammar import parse_json

__all__ = ["MAX_DEPTH", "MAX_MESSAGE", "BadMessageError", "Request", "Splitter", "TooLongError"]
__all__ += ["decode", "encode", "event", "failure", "greeting", "success"]

MAX_MESSAGE = 1 << 16  # bytes; what a worker's command may have
MAX_DEPTH = 32  # brackets in brackets; no option has more than four

_BLANK = re.compile(rb"\s*")
_STRUCTURE = re.compile(rb"[][{}\"']")
_WORD = re.compile(rb"[^][{}\"'\s]+")
_STRING_ENDS = {quote: re.compile(rb"[\\" + quote + rb"]") for quote in (b'"', b"'")}
_NO_OBJECT = re.compile(r"[\[\"'0-9-]|(true|false|null)\Z")


class BadMessageError(Exception):
    """A message is no request. The text is QEMU's sentence; `members` holds its `id`, where it has one."""

    def __init__(self, sentence: str, members: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.members = dict(members or {})


class TooLongError(BadMessageError):
    """A message is longer or deeper than any may be; what follows it cannot be told from it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command to carry out. `members` holds its `id`, to be sent back, if it came with one."""

    command: str
    arguments: dict[str, Any]
    members: dict[str, Any]


class Splitter:
    """Cuts a stream into messages, each the bytes of one JSON value or of one word that is none."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0  # what lies before has been looked at
        self._depth = 0
        self._quote: bytes | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that `data` completes. Raises TooLongError; the splitter is of no use then."""
        self._buffer += data
        while (end := self._find_end()) is not None:
            yield self._take(end)
        if len(self._buffer) > MAX_MESSAGE:
            raise TooLongError(f"the message is longer than {MAX_MESSAGE} bytes")

    def _take(self, end: int) -> bytes:
        if end > MAX_MESSAGE:
            raise TooLongError(f"the message is longer than {MAX_MESSAGE} bytes")
        message = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._position = 0
        return message

    def _find_end(self) -> int | None:
        """Where the first message ends, None if it goes on."""
        if not self._position:
            self._skip_blanks()
        while self._position < len(self._buffer):
            if self._quote:
                if not self._pass_string(self._quote):
                    return None
            elif not self._depth and self._pass_word():
                # A word at the end of what came may go on in what comes.
                return self._position if self._position < len(self._buffer) else None
            elif not self._pass_structure():
                return None
            if not self._depth and not self._quote:
                return self._position
        return None

    def _skip_blanks(self) -> None:
        blank = _BLANK.match(self._buffer)
        assert blank is not None
        del self._buffer[: blank.end()]

    def _pass_word(self) -> bool:
        """Go behind what has come of a word; False if the message is none."""
        if word := _WORD.match(self._buffer, self._position):
            self._position = word.end()
        return self._position > 0

    def _pass_string(self, quote: bytes) -> bool:
        """Go behind the string's end; False if it has not come yet."""
        found = _STRING_ENDS[quote].search(self._buffer, self._position)
        if found is None:
            self._position = len(self._buffer)
            return False
        if found[0] == quote:
            self._position, self._quote = found.end(), None
            return True
        self._position = found.start()
        if found.end() == len(self._buffer):
            return False  # what the backslash escapes has not come yet
        self._position = found.end() + 1
        return True

    def _pass_structure(self) -> bool:
        """Go behind the next bracket or quote; False if none has come yet."""
        found = _STRUCTURE.search(self._buffer, self._position)
        if found is None:
            self._position = len(self._buffer)
            return False
        self._position = found.end()
        sign = found[0]
        if sign in (b'"', b"'"):
            self._quote = sign
        elif sign in (b"{", b"["):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise TooLongError(f"JSON parse error, more than {MAX_DEPTH} brackets in each other")
        else:
            self._depth = max(0, self._depth - 1)
        return True


def decode(message: bytes) -> Request:
    """The request that a message is. Raises BadMessageError."""
    tree = _parse(message)
    members = {"id": tree["id"]} if "id" in tree else {}
    for name, value in tree.items():
        if name == "execute" and not isinstance(value, str):
            raise BadMessageError("QMP input member 'execute' must be a string", members)
        if name == "arguments" and not isinstance(value, dict):
            raise BadMessageError("QMP input member 'arguments' must be an object", members)
        if name not in ("execute", "arguments", "id"):
            raise BadMessageError(f"QMP input member '{name}' is unexpected", members)
    if "execute" not in tree:
        raise BadMessageError("QMP input lacks member 'execute'", members)
    return Request(tree["execute"], tree.get("arguments", {}), members)


def _parse(message: bytes) -> dict[str, Any]:
    try:
        text = message.decode()
    except UnicodeDecodeError:
        raise BadMessageError("JSON parse error, invalid UTF-8") from None
    if _NO_OBJECT.match(text):
        raise BadMessageError("QMP input must be a JSON object")
    if not text.startswith("{"):
        reason = "expecting value" if text in ("}", "]") else f"invalid keyword '{text}'"
        raise BadMessageError(f"JSON parse error, {reason}")
    try:
        tree = parse_json(text)
    except OptionError as error:
        raise BadMessageError(str(error)) from None
    _check(tree)
    return tree


def _check(value: object) -> None:
    """Raise BadMessageError for what JSON can say and the host cannot: such texts, and endless numbers."""
    if isinstance(value, dict):
        for name, member in value.items():
            _check(name)
            _check(member)
    elif isinstance(value, list):
        for member in value:
            _check(member)
    elif isinstance(value, float) and value - value != 0:
        raise BadMessageError("JSON parse error, a number is out of range")
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value)):
        raise BadMessageError("JSON parse error, a text has a character that is none")


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as it is sent: one line, all ASCII."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\r\n"


def greeting(version: Mapping[str, Any]) -> dict[str, Any]:
    """The server's first words. There are no capabilities to choose from."""
    return {"QMP": {"version": version, "capabilities": []}}


def success(result: object, members: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a command that was carried out; `members` are those of its request."""
    return {"return": result, **members}


def failure(kind: str, sentence: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a command that was not; `kind` is QEMU's class of errors, GenericError for most."""
    return {"error": {"class": kind, "desc": sentence}, **members}


def event(name: str, data: Mapping[str, Any], now: float) -> dict[str, Any]:
    """An event at `now`, seconds since 1970."""
    seconds, microseconds = divmod(round(now * 1_000_000), 1_000_000)
    return {
        "timestamp": {"seconds": seconds, "microseconds": microseconds},
        "event": name,
        "data": dict(data),
    }
