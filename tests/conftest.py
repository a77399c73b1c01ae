"""What all tests need of the process they run in."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# A run in the background of a shell script ignores SIGINT, one under nohup SIGHUP, and so would every program
# that a test starts. Handlers are not inherited: such programs get the default, and this run outlives its
# terminal all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

# How long an example takes says something about the machine, not about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The product runs on asyncio alone, so its tests do not run once more on whatever else is installed."""
    return "asyncio"
