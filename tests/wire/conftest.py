"""Tests of the real worker over real sockets; everything stays on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.wire.card_bench import Bench, served
from tests.wire.vfio_client import Client
from wirebay.network import Network


@pytest.fixture
async def network(anyio_backend: str) -> AsyncIterator[Network]:
    async with Network() as network:
        yield network


@pytest.fixture
def pair() -> Iterator[tuple[Bench, Client]]:
    with served() as pair:
        yield pair
