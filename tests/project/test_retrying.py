"""The policy for retries, by itself: what it takes, and the pauses it makes."""

from __future__ import annotations

from typing import Any

import pytest

import perdure
from perdure import BusyError, InvalidError, RetryPolicy
from perdure.retrying import Attempts, longest_pause
from tests.engines.plans import doing

OP = doing()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pauses(policy: RetryPolicy, chance: float, count: int, takes: float = 0.0) -> list[float]:
    """The pauses until it gives up, at most so many; each attempt takes that long."""
    clock = Clock()
    attempts = Attempts(policy, OP, chance=lambda: chance, clock=clock)
    found: list[float] = []
    try:
        for _ in range(count):
            clock.now += takes
            found.append(attempts.pause(BusyError("x")))
            clock.now += found[-1]
    except BusyError:
        pass
    return found


def test_pauses_double_up_to_the_longest_and_chance_takes_a_part_of_them() -> None:
    policy = RetryPolicy(max_retries=6, base_delay=0.5, max_delay=3, deadline=None)

    assert [longest_pause(policy, n) for n in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 3, 3]
    assert pauses(policy, 1.0, 10) == [0.5, 1, 2, 3, 3, 3]
    assert pauses(policy, 0.5, 10) == [0.25, 0.5, 1, 1.5, 1.5, 1.5]
    assert pauses(policy, 0.0, 10) == [0] * 6
    assert longest_pause(policy, 100_000) == 3
    assert longest_pause(RetryPolicy(base_delay=0), 100_000) == 0


def test_the_defaults_are_those_of_the_seed() -> None:
    policy = RetryPolicy()

    assert (policy.max_retries, policy.base_delay, policy.logger) == (3, 0.5, None)
    assert pauses(policy, 1.0, 10) == [0.5, 1, 2]


def test_no_attempt_begins_after_the_deadline() -> None:
    policy = RetryPolicy(max_retries=100, base_delay=1, max_delay=1, deadline=10)

    assert len(pauses(policy, 1.0, 100)) == 10
    assert len(pauses(policy, 1.0, 100, takes=4)) == 2
    assert len(pauses(policy, 0.0, 100, takes=11)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"max_retries": None},
        {"base_delay": -0.1},
        {"base_delay": float("nan")},
        {"base_delay": float("inf")},
        {"base_delay": "1"},
        {"max_delay": -1},
        {"max_delay": float("inf")},
        {"max_delay": None},
        {"deadline": -1},
        {"deadline": float("nan")},
        {"deadline": True},
        {"logger": "print"},
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        RetryPolicy(**options)

    assert refused.value.path == next(iter(options))


def test_who_is_interrupted_between_two_attempts_is_told_what_became_of_the_write() -> None:
    lines: list[str] = []
    attempts = Attempts(RetryPolicy(logger=lines.append), OP)
    failure = BusyError("locked")
    attempts.pause(failure)

    with pytest.raises(KeyboardInterrupt) as interrupted, attempts.waiting(failure):
        raise KeyboardInterrupt

    assert interrupted.value.__notes__ == [
        "test.plan: ended between two attempts; nothing of it is stored: locked"
    ]
    assert lines[-1].startswith("test.plan: attempt 1 of 4 failed, ended from outside")


@pytest.mark.parametrize("retry", [3, "always", {"max_retries": 3}])
def test_a_policy_is_a_record(retry: Any) -> None:
    with pytest.raises(InvalidError, match="RetryPolicy"):
        perdure.open("memory:", retry=retry)
