"""When a task is due: the two nights of the year above all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from perdure.features.schedules import check_expression, next_after, slots_until, upcoming
from perdure.values import from_micros, to_micros

DAY = timedelta(days=1) // timedelta(microseconds=1)

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
#: In spring the hour from two to three is left out, in autumn it comes twice; in New York that is
#: the hour from one to two.
NIGHTS = {
    (BERLIN, "spring"): datetime(2026, 3, 29, tzinfo=UTC),
    (BERLIN, "autumn"): datetime(2026, 10, 25, tzinfo=UTC),
    (NEW_YORK, "spring"): datetime(2026, 3, 8, tzinfo=UTC),
    (NEW_YORK, "autumn"): datetime(2026, 11, 1, tzinfo=UTC),
}


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text), "at")


def night(zone: str, season: str, expression: str) -> list[str]:
    """The slots until five of that night, as the clocks show them, with what they are off UTC."""
    midnight = NIGHTS[zone, season].replace(tzinfo=ZoneInfo(zone))
    start = to_micros(midnight, "start") - 1
    end = to_micros(midnight.replace(hour=5), "end")
    found = []
    for slot in upcoming(expression, zone, start, 400):
        if slot < end:
            shown = from_micros(slot).astimezone(ZoneInfo(zone))
            found.append(f"{shown:%H:%M%z}"[:8])
    return found


@pytest.mark.parametrize(
    ("zone", "season", "expression", "slots"),
    [
        # A fixed hour that is left out comes at once after it.
        (BERLIN, "spring", "30 2 * * *", ["03:00+02"]),
        (NEW_YORK, "spring", "30 2 * * *", ["03:00-04"]),
        (BERLIN, "spring", "0 2 * * *", ["03:00+02"]),
        (NEW_YORK, "spring", "0 2 * * *", ["03:00-04"]),
        (BERLIN, "spring", "0 3 * * *", ["03:00+02"]),
        (BERLIN, "spring", "0 2,3 * * *", ["03:00+02"]),
        # One that comes twice counts once, the first time.
        (BERLIN, "autumn", "30 2 * * *", ["02:30+02"]),
        (NEW_YORK, "autumn", "30 1 * * *", ["01:30-04"]),
        (BERLIN, "autumn", "0 2 * * *", ["02:00+02"]),
        (NEW_YORK, "autumn", "0 1 * * *", ["01:00-04"]),
        # Outside of that hour nothing is special.
        (BERLIN, "spring", "30 1 * * *", ["01:30+01"]),
        (BERLIN, "autumn", "30 3 * * *", ["03:30+01"]),
        (NEW_YORK, "autumn", "30 2 * * *", ["02:30-05"]),
        # What goes by every hour, or by minutes, follows the time that passes.
        (BERLIN, "spring", "0 * * * *", ["00:00+01", "01:00+01", "03:00+02", "04:00+02"]),
        (
            BERLIN, "autumn", "0 * * * *",
            ["00:00+02", "01:00+02", "02:00+02", "02:00+01", "03:00+01", "04:00+01"],
        ),
        (NEW_YORK, "spring", "0 * * * *", ["00:00-05", "01:00-05", "03:00-04", "04:00-04"]),
        (
            NEW_YORK, "autumn", "0 * * * *",
            ["00:00-04", "01:00-04", "01:00-05", "02:00-05", "03:00-05", "04:00-05"],
        ),
        (
            BERLIN, "autumn", "*/30 2 * * *",
            ["02:00+02", "02:30+02", "02:00+01", "02:30+01"],
        ),
        (BERLIN, "spring", "*/30 2 * * *", []),
        (BERLIN, "spring", "15 */2 * * *", ["00:15+01", "04:15+02"]),
    ],
)  # fmt: skip
def test_the_nights_on_which_clocks_change(
    zone: str, season: str, expression: str, slots: list[str]
) -> None:
    assert night(zone, season, expression) == slots


EXPRESSIONS = [
    "* * * * *", "*/15 * * * *", "30 * * * *", "0 * * * *", "0 */2 * * *", "30 2 * * *",
    "30 1 * * *", "0 2 * * *", "15,45 1-3 * * *", "*/10 2 * * *", "0 3 * * *", "0 0 * * *",
    "30 0-4 * * *", "0 1-23/2 * * *", "@daily", "@hourly", "0 0 L * *", "0 9 * * MON#1",
]  # fmt: skip


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, "UTC", "Asia/Kolkata", "America/Santiago"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_slot_by_slot_from_anywhere_or_backwards_it_is_one_list(zone: str, expression: str) -> None:
    for midnight in NIGHTS.values():
        start = to_micros(midnight.replace(tzinfo=UTC), "start") - DAY // 4
        end = start + DAY // 2
        every, slot = [], next_after(expression, zone, start)
        while slot is not None and slot <= end:
            every.append(slot)
            slot = next_after(expression, zone, slot)
        assert upcoming(expression, zone, start, len(every) + 1) == [*every, slot]
        assert every == sorted(set(every))
        if every:
            assert slots_until(expression, zone, every[0], end, 10_000)[0] == every
            assert slots_until(expression, zone, every[0], end, 7) == (every[-7:], slot)
            assert slots_until(expression, zone, every[0], every[-1], 1)[0] == every[-1:]


def test_what_was_missed_for_years_is_found_from_its_end() -> None:
    first, now = at("1976-01-01T00:00+00:00"), at("2026-01-01T00:00:30+00:00")

    slots, following = slots_until("* * * * *", "UTC", first, now, 3)

    assert slots == [at(f"2025-12-31T23:{minute}+00:00") for minute in (58, 59)] + [
        at("2026-01-01T00:00+00:00")
    ]
    assert following == at("2026-01-01T00:01+00:00")


def test_before_the_first_slot_there_is_none() -> None:
    first, now = at("2026-01-01T08:00+00:00"), at("2026-01-01T07:59:59+00:00")

    assert slots_until("0 8 * * *", "UTC", first, now, 5) == ([], first)
    assert slots_until("0 8 * * *", "UTC", first, first, 5)[0] == [first]


@pytest.mark.parametrize(
    ("expression", "means"),
    [
        ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"), ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"), ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"), ("@DAILY", "0 0 * * *"), ("0 0 * JAN,dec SUN", "0 0 * 1,12 0"),
        ("0 0 * * 7", "0 0 * * 0"),
    ],
)  # fmt: skip
def test_aliases_and_names_mean_what_they_do_in_cron(expression: str, means: str) -> None:
    start = at("2026-01-10T12:00+00:00")

    assert upcoming(expression, "UTC", start, 5) == upcoming(means, "UTC", start, 5)


def test_an_expression_is_kept_as_it_was_written_but_for_its_spaces() -> None:
    assert check_expression("  30 7\t* *   MON-FRI ") == "30 7 * * MON-FRI"
    assert check_expression("@daily") == "@daily"
