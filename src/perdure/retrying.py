"""Trying a write again that has met trouble which passes: when, how often, after how long."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from perdure.errors import (
    BusyError,
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    PerdureError,
    UnknownOutcomeError,
)
from perdure.operation import Fused, Operation

__all__ = ["Attempts", "RetryPolicy", "longest_pause"]

Log = logging.Logger | Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and for how long, a store tries writes again by itself: `open(retry=)`.

    A write is made again, whole, up to ``max_retries`` times, when the store or its server was
    busy or could not be reached, and nothing of it was stored. Before the nth time it waits a
    random time up to ``base_delay`` times 2 to the power of n - 1, at most ``max_delay``. No
    attempt begins later than ``deadline`` seconds after the first (None: whenever). ``logger``
    gets a line for each attempt that has failed: a `logging.Logger`, as a warning, or a function.
    `InvalidError` for what is negative or no number.
    """

    max_retries: int = 3
    base_delay: float = 0.5
    max_delay: float = 10.0
    deadline: float | None = 60.0
    logger: Log | None = None

    def __post_init__(self) -> None:
        if type(self.max_retries) is not int or self.max_retries < 0:
            message = f"max_retries is a whole number, 0 or more, not {self.max_retries!r}"
            raise InvalidError(message, "max_retries")
        _seconds(self.base_delay, "base_delay")
        _seconds(self.max_delay, "max_delay")
        if self.deadline is not None:
            _seconds(self.deadline, "deadline")
        if not isinstance(self.logger, logging.Logger | None) and not callable(self.logger):
            message = f"logger is a logging.Logger or a function of a text, not {self.logger!r}"
            raise InvalidError(message, "logger")


def _seconds(value: object, name: str) -> None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number < math.inf:
        raise InvalidError(f"{name} is a number of seconds, 0 or more, not {value!r}", name)


def longest_pause(policy: RetryPolicy, number: int) -> float:
    """The longest pause before the nth attempt but the first, in seconds."""
    # Beyond that many doublings every delay is above any limit, or is zero.
    return min(policy.base_delay * 2.0 ** min(number - 1, 64), policy.max_delay)


def _passes(error: PerdureError, op: Operation[Any]) -> bool:
    """Whether the operation may well succeed now, and cannot be done twice."""
    # Not what is derived from it: a feature means something else by that.
    if type(error) is BusyError:
        return True
    # Such work finds what it has stored before. Of any other nobody may say so.
    return isinstance(error, UnknownOutcomeError) and isinstance(op.work, Fused)


def _answers(error: PerdureError) -> bool:
    """Whether the store was there, looked, and refuses."""
    return isinstance(error, ConflictError | NotFoundError | InvalidError | DeniedError)


class Attempts:
    """The attempts at one write: its operation as it is to be run next, and the pauses between."""

    def __init__(
        self,
        policy: RetryPolicy,
        op: Operation[Any],
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.op = op
        self._first = op
        self._policy = policy
        self._chance = chance
        self._clock = clock
        self._begun = clock()
        self._failed = 0
        #: That an attempt may have stored it: what fails later does not make that undone.
        self._doubt: UnknownOutcomeError | None = None

    def pause(self, error: PerdureError) -> float:
        """The seconds to wait before the next attempt; if there is none the error is raised."""
        if not _passes(error, self._first):
            raise self._doubt if self._doubt is not None and not _answers(error) else error
        if isinstance(error, UnknownOutcomeError):
            self._doubt = error
        self._failed += 1
        # Full jitter: those who met once do not meet again.
        pause = self._chance() * longest_pause(self._policy, self._failed)
        deadline = self._policy.deadline
        last = self._failed > self._policy.max_retries
        late = deadline is not None and self._clock() - self._begun + pause > deadline
        if last or late:
            self._tell(error, "the last one" if last else f"over after {deadline:g} s")
            raise self._given_up(self._doubt or error) from (self._doubt or error).__cause__
        self._tell(error, f"again in {pause:.2f} s")
        if self._doubt is not None and isinstance(self._first.work, Fused):
            # It may be there: from now on it is looked for first.
            self.op = replace(self._first, work=self._first.work.again)
        return pause

    @contextmanager
    def waiting(self, error: PerdureError) -> Iterator[None]:
        """While the pause lasts: who is interrupted there is told what became of the write."""
        try:
            yield
        except BaseException as interruption:
            self._tell(error, "ended from outside before the next one")
            sure = self._doubt is None
            what = "nothing of it is stored" if sure else "nobody knows whether it is stored"
            name = self._first.name
            interruption.add_note(f"{name}: ended between two attempts; {what}: {error}")
            raise

    def _tell(self, error: PerdureError, then: str) -> None:
        most = self._policy.max_retries + 1
        line = f"{self._first.name}: attempt {self._failed} of {most} failed, {then}: {error}"
        logger = self._policy.logger
        if isinstance(logger, logging.Logger):
            logger.warning("%s", line)
        elif logger is not None:
            # A write does not fail because nobody can be told of it.
            with suppress(Exception):
                logger(line)

    def _given_up(self, error: PerdureError) -> PerdureError:
        """The error with the number of attempts; a copy, as others may have the same one."""
        if self._failed == 1:
            return error
        last = copy(error)
        seconds = self._clock() - self._begun
        last.add_note(f"{self._first.name} was tried {self._failed} times in {seconds:.1f} s")
        return last
