"""One client's conversation: first it negotiates capabilities, then commands are carried out in order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from wirebay.control.message import BadMessageError, Request, decode, failure, success
from wirebay.control.table import Command, Context, QmpError
from wirebay.errors import WirebayError

__all__ = ["Session"]

NEGOTIATE = "qmp_capabilities"

logger = logging.getLogger("wirebay")


class Session:
    """`ready` tells whether the client has negotiated, and so gets events."""

    def __init__(self, context: Context, commands: Mapping[str, Command]) -> None:
        self.ready = False
        self._context = context
        self._commands = commands

    async def answer(self, message: bytes) -> dict[str, Any]:
        """Carry out one message and return the reply. Never raises for what a client sent."""
        try:
            request = decode(message)
        except BadMessageError as error:
            return failure("GenericError", str(error), error.members)
        try:
            return success(await self._execute(request), request.members)
        except QmpError as error:
            return failure(error.kind, str(error), request.members)
        except WirebayError as error:
            return failure("GenericError", str(error), request.members)
        except Exception:
            logger.exception("the command '%s' failed", request.command)
            return failure("GenericError", "the command failed; the log says why", request.members)

    async def _execute(self, request: Request) -> object:
        if not self.ready:
            return self._negotiate(request)
        if request.command == NEGOTIATE:
            raise QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound")
        if request.command not in self._commands:
            raise QmpError(f"The command {request.command} has not been found", "CommandNotFound")
        return await self._commands[request.command](self._context, request.arguments)

    def _negotiate(self, request: Request) -> dict[str, Any]:
        if request.command != NEGOTIATE:
            raise QmpError(f"Expecting capabilities negotiation with '{NEGOTIATE}'", "CommandNotFound")
        for name, value in request.arguments.items():
            if name != "enable":
                raise QmpError(f"Parameter '{name}' is unexpected")
            if not isinstance(value, list):
                raise QmpError("Invalid parameter type for 'enable', expected: array")
            if value:
                raise QmpError(f"Parameter 'enable[0]' does not accept value '{value[0]}'")
        self.ready = True
        return {}
