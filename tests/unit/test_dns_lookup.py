"""Whom to ask: order, fail-over and memory, under injected time."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.options.types import Address
from wirebay.services.dns_lookup import PATIENCE, PENALTY, ROUNDS, Lookup, Upstreams

FIRST, SECOND, THIRD = ip_address("192.0.2.1"), ip_address("2001:db8::1"), ip_address("192.0.2.3")


@pytest.fixture
def upstreams() -> Upstreams:
    made = Upstreams()
    made.replace([FIRST, SECOND])
    return made


def expire_all(lookup: Lookup) -> list[Address | None]:
    """Let time run out until the end; the servers asked meanwhile."""
    asked = []
    while not lookup.done:
        asked.append(lookup.expire(lookup.deadline))
    return asked


def test_the_first_server_is_asked_and_its_answer_is_the_answer(upstreams: Upstreams) -> None:
    lookup = Lookup(upstreams, 0.0)
    assert lookup.begin(0.0) == FIRST
    assert lookup.expire(PATIENCE / 2) is None
    lookup.answered(FIRST, b"answer", 1.0)
    assert (lookup.done, lookup.answer) == (True, b"answer")


def test_silent_servers_are_all_asked_twice_and_then_listened_to(upstreams: Upstreams) -> None:
    lookup = Lookup(upstreams, 0.0)
    assert [lookup.begin(0.0), *expire_all(lookup)] == [FIRST, SECOND, FIRST, SECOND, None, None]
    assert (lookup.answer, lookup.deadline) == (None, (2 * ROUNDS + 1) * PATIENCE)


def test_a_late_answer_counts(upstreams: Upstreams) -> None:
    lookup = Lookup(upstreams, 0.0)
    lookup.begin(0.0)
    assert lookup.expire(PATIENCE) == SECOND
    lookup.answered(FIRST, b"late", PATIENCE + 1)
    assert lookup.answer == b"late"
    assert upstreams.order(PATIENCE + 1) == [FIRST, SECOND]


def test_a_server_that_cannot_be_reached_makes_room_at_once(upstreams: Upstreams) -> None:
    lookup = Lookup(upstreams, 0.0)
    lookup.begin(0.0)
    assert lookup.failed(FIRST, 0.1) == SECOND
    assert lookup.failed(FIRST, 0.2) is None
    assert lookup.failed(SECOND, 0.3) is None
    assert (lookup.done, lookup.answer) == (True, None)


def test_a_refusal_is_the_answer_when_nobody_has_a_better_one(upstreams: Upstreams) -> None:
    lookup = Lookup(upstreams, 0.0)
    lookup.begin(0.0)
    assert lookup.refused(FIRST, b"SERVFAIL", 0.1) == SECOND
    assert not lookup.done
    assert expire_all(lookup) == [SECOND, None, None]
    assert lookup.answer == b"SERVFAIL"


def test_a_better_answer_than_a_refusal_is_taken(upstreams: Upstreams) -> None:
    lookup = Lookup(upstreams, 0.0)
    lookup.begin(0.0)
    lookup.refused(FIRST, b"REFUSED", 0.1)
    lookup.answered(SECOND, b"answer", 0.2)
    assert lookup.answer == b"answer"


def test_without_servers_it_is_over_at_once() -> None:
    lookup = Lookup(Upstreams(), 0.0)
    assert lookup.begin(0.0) is None
    assert (lookup.done, lookup.answer) == (True, None)


def test_one_that_failed_is_asked_last_for_a_while(upstreams: Upstreams) -> None:
    upstreams.failed(FIRST, 10.0)
    assert upstreams.order(10.0) == [SECOND, FIRST]
    assert upstreams.order(10.0 + PENALTY) == [FIRST, SECOND]
    upstreams.failed(SECOND, 10.0)
    assert upstreams.order(10.0) == [FIRST, SECOND]
    upstreams.worked(SECOND)
    assert upstreams.order(10.0) == [SECOND, FIRST]


def test_what_is_known_of_servers_that_stay_is_kept(upstreams: Upstreams) -> None:
    upstreams.failed(FIRST, 0.0)
    upstreams.failed(THIRD, 0.0)
    upstreams.replace([FIRST, THIRD, THIRD])
    assert upstreams.order(1.0) == [THIRD, FIRST]


inputs = st.lists(
    st.tuples(
        st.sampled_from(["answered", "refused", "failed", "time"]), st.sampled_from([FIRST, SECOND, THIRD])
    ),
    max_size=12,
)


@given(inputs, st.lists(st.sampled_from([FIRST, SECOND, THIRD]), max_size=3))
def test_whatever_happens_it_ends_and_asks_each_server_twice_at_most(
    happening: list[tuple[str, Address]], servers: list[Address]
) -> None:
    upstreams = Upstreams()
    upstreams.replace(servers)
    lookup, now = Lookup(upstreams, 0.0), 0.0
    asked = [lookup.begin(now)]
    answered = False
    for what, server in happening:
        now += 0.1
        if what == "answered":
            answered = answered or not lookup.done
            lookup.answered(server, b"answer", now)
        elif what == "refused":
            asked.append(lookup.refused(server, b"refusal", now))
        elif what == "failed":
            asked.append(lookup.failed(server, now))
        elif not lookup.done:
            now = lookup.deadline
            asked.append(lookup.expire(now))
    asked += expire_all(lookup)
    assert all(asked.count(server) <= ROUNDS for server in (FIRST, SECOND, THIRD))
    assert now <= (ROUNDS * 3 + 2) * PATIENCE + 1.2
    assert not answered or lookup.answer == b"answer"
