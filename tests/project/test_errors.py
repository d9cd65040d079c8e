"""Errors cross the borders of processes as they are: a worker's error is told to its parent."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest

from perdure import errors
from perdure.errors import (
    ApprovalPendingError,
    ApprovalUsedError,
    BusyError,
    InvalidError,
    PerdureError,
    StaleSessionError,
    TooLargeError,
)

WITH_MORE: list[tuple[PerdureError, dict[str, object]]] = [
    (StaleSessionError("stale", 7), {"current_version": 7}),
    (InvalidError("invalid", "events[0].text"), {"path": "events[0].text"}),
    (InvalidError("invalid"), {"path": ""}),
    (TooLargeError("large", "records"), {"limit": "records", "path": ""}),
    (TooLargeError("large", limit="text", path="title"), {"limit": "text", "path": "title"}),
    (ApprovalPendingError("waits", "apr_1"), {"approval_id": "apr_1"}),
    (ApprovalUsedError("used", "apr_1"), {"approval_id": "apr_1"}),
    (BusyError("busy"), {"retry_after": 1.0}),
    (BusyError("busy", retry_after=2.5), {"retry_after": 2.5}),
]


def through_a_pickle(error: PerdureError) -> PerdureError:
    again: PerdureError = pickle.loads(pickle.dumps(error))
    return again


def through_the_oldest_pickle(error: PerdureError) -> PerdureError:
    again: PerdureError = pickle.loads(pickle.dumps(error, protocol=0))
    return again


every_way = pytest.mark.parametrize(
    "again", [through_a_pickle, through_the_oldest_pickle, copy.copy, copy.deepcopy]
)


def kinds(base: type[PerdureError] = PerdureError) -> Iterator[type[PerdureError]]:
    if base.__module__ == errors.__name__:
        yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


ALL = sorted(set(kinds()), key=lambda kind: kind.__name__)
MORE = {type(error) for error, _ in WITH_MORE}


@every_way
@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in MORE])
def test_an_error_with_a_message_alone_stays_as_it_is(
    kind: type[PerdureError], again: Callable[[PerdureError], PerdureError]
) -> None:
    error = kind("what happened to 'é'")
    error.operation = (2, "events.append")

    other = again(error)

    assert type(other) is kind
    assert other is not error
    assert (str(other), other.args) == (str(error), error.args)
    assert other.operation == (2, "events.append")
    assert vars(other) == vars(error)


@every_way
@pytest.mark.parametrize(("error", "told"), WITH_MORE)
def test_an_error_that_tells_more_still_tells_it(
    error: PerdureError, told: dict[str, object], again: Callable[[PerdureError], PerdureError]
) -> None:
    other = again(error)

    assert type(other) is type(error)
    assert (str(other), other.args) == (str(error), error.args)
    assert vars(other) == told
    assert other.operation is None


@every_way
def test_what_was_added_to_an_error_stays(
    again: Callable[[PerdureError], PerdureError],
) -> None:
    error = TooLargeError("large", "records", "events")
    error.operation = (0, "events.append")
    error.add_note("in the second turn")

    other = again(error)

    assert other.operation == (0, "events.append")
    assert other.__notes__ == ["in the second turn"]
    assert vars(other) == vars(error)


def test_every_error_that_takes_more_than_a_message_is_among_these() -> None:
    assert {kind for kind in ALL if "__init__" in vars(kind)} == MORE
