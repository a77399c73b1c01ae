"""The highest rate at which a network loses next to nothing."""

from __future__ import annotations

from collections.abc import Callable

LEAST_LOSS = 1.0  # percent that may be lost


def highest_rate(
    try_rate: Callable[[float], tuple[float, float]], low: float, high: float, steps: int
) -> float:
    """What arrives at the highest rate that loses less than 1 %; 0 if every rate that was tried loses more.

    `try_rate` takes a rate and returns what arrived and the percentage lost. Rates are halved in proportion:
    after `steps` of them the answer is within the 2^steps-th root of `high / low`.
    """
    best = 0.0
    for _ in range(steps):
        middle = (low * high) ** 0.5
        arrived, lost = try_rate(middle)
        if lost < LEAST_LOSS:
            best, low = max(best, arrived), middle
        else:
            high = middle
    return best
