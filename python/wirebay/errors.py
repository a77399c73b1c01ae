"""Errors, by whose fault they are.

Every error a user can meet is one plain sentence that names the option, the
guest or the host thing at fault. The command line turns `exit_status` into its
own: 2 for usage, 1 for run time.
"""

from __future__ import annotations


class WirebayError(Exception):
    """Base of every error Wirebay raises on purpose; its text is one sentence."""

    exit_status = 1


class OptionError(WirebayError):
    """An option is wrong: unknown, malformed or in conflict with another."""

    exit_status = 2


class HostError(WirebayError):
    """The host refused something: a port in use, a missing device, no QEMU."""


class WorkerError(WirebayError):
    """The packet worker died, or refused a command it should have taken."""
