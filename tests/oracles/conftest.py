"""What the oracles share: a network of ours with one card on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.wire.guest import Guest
from wirebay.network import Network


@pytest.fixture
async def network(anyio_backend: str) -> AsyncIterator[Network]:
    async with Network() as network:
        yield network


@pytest.fixture
async def card(network: Network) -> AsyncIterator[Guest]:
    """A card on port `near`, which a test joins to the port it is about."""
    guest, _ = await Guest.on(network, "near", 1)
    with guest:
        yield guest
