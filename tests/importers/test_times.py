"""The times of messages and conversations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from perdure.errors import InvalidError
from perdure.importers.moments import moment
from tests.importers.importing import assistant, read_one, reason, talk, user

NOON = datetime(2024, 5, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2024-05-20T12:00:00Z",
        "2024-05-20T14:00:00+02:00",
        "2024-05-20 12:00:00.000000+00:00",
        " 20240520T120000Z ",
        1716206400,
        1716206400.0,
        1716206400000,
    ],
)
def test_a_moment_is_iso_text_or_seconds_or_milliseconds(value: Any) -> None:
    assert moment(value) == NOON


def test_fractions_are_kept_to_the_microsecond() -> None:
    assert moment(1716206400.123456) == NOON + timedelta(microseconds=123456)
    assert moment("2024-05-20T12:00:00.123456Z") == NOON + timedelta(microseconds=123456)
    assert moment(-1) == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("yesterday", "is not ISO 8601"),
        ("", "is not ISO 8601"),
        (True, "neither ISO text nor a number"),
        ({"seconds": 1}, "neither ISO text nor a number"),
        (1716206400000000, "neither seconds nor milliseconds"),
        (10**400, "neither seconds nor milliseconds"),
        ("2024-05-20T12:00:00", "has no zone"),
        ("2024-05-20", "has no zone"),
    ],
)
def test_anything_else_is_refused(value: Any, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        moment(value)


def test_a_time_without_a_zone_is_read_in_the_zone_that_is_given() -> None:
    assert moment("2024-05-20T14:00:00", ZoneInfo("Europe/Paris")) == NOON
    assert moment("2024-05-20T14:00:00+02:00", ZoneInfo("Asia/Tokyo")) == NOON


@pytest.mark.parametrize("name", ["timestamp", "created_at", "ts"])
def test_a_message_s_time_leaves_the_content_and_is_kept_as_it_was_written(name: str) -> None:
    written = "2024-05-20T14:00:00+02:00"

    [message] = read_one(talk("c-1", user("hi", **{name: written}))).messages

    assert message.content == user("hi")
    assert message.timestamp == NOON
    assert message.extra == {name: written}


def test_a_message_without_a_time_takes_the_one_before_it() -> None:
    one = read_one(
        talk(
            "c-1",
            user("a"),
            assistant("b", ts="2024-05-20T12:01:00Z"),
            user("c", ts=None),
            created_at="2024-05-20T12:00:00Z",
        )
    )

    minute = timedelta(minutes=1)
    assert one.created_at == NOON
    assert [message.timestamp for message in one.messages] == [NOON, NOON + minute, NOON + minute]
    assert [message.timed for message in one.messages] == [False, True, False]


def test_a_conversation_without_a_time_was_made_when_its_first_message_was() -> None:
    assert read_one(talk("c-1", user("a", ts=1716206400))).created_at == NOON
    assert read_one(talk("c-1", user("a"))).created_at is None


def test_a_time_that_cannot_be_read_skips_the_conversation() -> None:
    assert "has no zone" in reason(talk("c-1", user("a", ts="2024-05-20T12:00:00")))
    assert "is not ISO 8601" in reason(talk("c-1", user("a"), created_at="soon"))
    assert read_one(talk("c-1", user("a", ts="2024-05-20T12:00:00")), zone=UTC).id == "c-1"
