"""Events that come fast are thinned, and the newest is never lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wirebay.control.throttle import MOST, PERIOD, Throttle


def test_the_first_goes_out_at_once_and_the_newest_of_the_rest_a_second_later() -> None:
    throttle: Throttle[int] = Throttle()
    assert [throttle.offer("a", number, number / 100) for number in range(50)] == [True] + [False] * 49
    assert throttle.offer("b", 100, 0.5)
    assert (throttle.deadline(), throttle.due(PERIOD - 0.01)) == (PERIOD, [])
    assert throttle.due(PERIOD) == [49]
    assert not throttle.offer("a", 200, PERIOD + 0.5)
    assert throttle.due(2 * PERIOD) == [200]
    assert throttle.due(3 * PERIOD) == []
    assert throttle.deadline() is None
    assert throttle.offer("a", 300, 3 * PERIOD)


def test_what_waits_goes_out_in_the_order_in_which_it_happened() -> None:
    throttle: Throttle[str] = Throttle()
    for number in range(5):
        throttle.offer("up", f"up{number}", 0)
        throttle.offer("down", f"down{number}", 0)
    throttle.offer("up", "up5", 0)
    assert throttle.due(PERIOD) == ["down4", "up5"]


def test_the_number_of_things_is_bounded() -> None:
    throttle: Throttle[int] = Throttle()
    assert sum(throttle.offer(number, number, 0) for number in range(2 * MOST)) == MOST
    assert throttle.due(PERIOD) == []
    assert throttle.offer("new", 1, PERIOD)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 0.5)), max_size=60))
def test_the_last_event_about_a_thing_is_the_last_that_is_sent(steps: list[tuple[int, float]]) -> None:
    throttle: Throttle[tuple[int, int]] = Throttle()
    now, sent, last = 0.0, [], {}
    for number, (key, pause) in enumerate(steps):
        now += pause
        sent += throttle.due(now)
        last[key] = (key, number)
        if throttle.offer(key, last[key], now):
            sent.append(last[key])
    while (deadline := throttle.deadline()) is not None:
        sent += throttle.due(deadline)
    assert {event[0]: event for event in sent} == last
    assert len(sent) <= 4 * (now / PERIOD + 2)
