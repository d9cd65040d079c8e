"""Renaming, tagging, copying, removing, bringing back; and how an id is found."""

from __future__ import annotations

import json
import sys

import pytest

import perdure as library
from perdure import ALL, SessionKey
from tests.cli.command import Perdure, on_terminal

LATE = SessionKey("shop", "ada", "late-parcel")


def left(url: str) -> list[str]:
    with library.open_sync(url) as store:
        return [session.id for session in store.sessions.iter(ALL, ALL, order="id")]


def test_a_session_gets_another_title(shop: Perdure) -> None:
    result = shop("sessions", "rename", "late-p", "Found!")

    assert (result.code, result.out) == (0, "")
    assert result.err == "late-parcel is now 'Found!'\n"
    assert json.loads(shop("show", "late-p", "--json").out)["session"]["title"] == "Found!"


def test_tags_are_added_and_taken_away(shop: Perdure) -> None:
    assert shop("sessions", "tag", "late-p").out == "vip\n"
    assert shop("sessions", "tag", "late-p", "new", "vip").out == "vip\nnew\n"
    assert shop("sessions", "tag", "late-p", "--remove", "vip").out == "new\n"
    assert json.loads(shop("sessions", "tag", "late-p", "--json").out)["tags"] == ["new"]


def test_a_copy_has_the_events_up_to_one(shop: Perdure) -> None:
    result = shop("sessions", "fork", "late-p", "--at", "2", "--json")

    copy = json.loads(result.out)
    assert copy["event_count"] == 2
    assert copy["origin"] == {"app": "shop", "user": "ada", "id": "late-parcel", "seq": 2}


def test_a_copy_does_not_take_an_id_that_is_in_use(shop: Perdure) -> None:
    result = shop("sessions", "fork", "late-p", "--id", "late-parcel")

    assert result.code == 4
    assert result.err == "perdure: session 'late-parcel' exists: take another id\n"


def test_a_copy_up_to_an_event_that_is_not_there_is_not_found(shop: Perdure) -> None:
    assert shop("sessions", "fork", "late-p", "--at", "99").code == 3


def test_what_is_held_is_not_deleted_until_it_is_released(shop: Perdure) -> None:
    held = shop("sessions", "hold", "late-p", "--by", "legal", "--reason", "case 12", "--json")
    refused = shop("sessions", "rm", "late-p", "--yes")
    released = shop("sessions", "release", "late-p", "--by", "legal")
    again = shop("sessions", "release", "late-p", "--json")

    assert json.loads(held.out)["reason"] == "case 12"
    assert refused.code == 6
    assert "'legal'" in refused.err
    assert released.err == "late-parcel was released\n"
    assert json.loads(again.out) == {"session": "late-parcel", "released": False, "held": False}
    assert shop("sessions", "rm", "late-p", "--yes").code == 0


def test_releasing_a_session_says_that_its_user_is_held(shop: Perdure, url: str) -> None:
    with library.open_sync(url) as store:
        store.sessions.hold(library.UserScope("shop", "ada"), by="audit", reason="2026")

    released = shop("sessions", "release", "late-p")

    assert released.err.splitlines() == [
        "late-parcel was not held by itself",
        "everything of its user is held by 'audit': 2026",
    ]


def test_deleting_needs_a_yes_where_nobody_can_be_asked(filled: str, perdure: Perdure) -> None:
    for verb in ("rm", "purge"):
        result = perdure("sessions", verb, "late-p")

        assert result.code == 2
        assert "there is no terminal to ask on: say --yes" in result.err
    assert perdure("erase", "shop", "ada").code == 2
    assert len(left(filled)) == 3


def test_what_is_deleted_can_be_restored(filled: str, perdure: Perdure) -> None:
    deleted = perdure("sessions", "rm", "late-p", "late-a", "--yes")
    restored = perdure("sessions", "restore", "late-p")

    assert deleted.err.splitlines() == [
        "late-parcel deleted (5 events)",
        "late-again deleted (1 events)",
    ]
    assert restored.err == "late-parcel is back, with 5 events\n"
    assert left(filled) == ["empty", "late-parcel"]


def test_showing_a_deleted_session_says_how_to_bring_it_back(shop: Perdure) -> None:
    shop("sessions", "rm", "late-p", "--yes")

    result = shop("show", "late-parcel")

    assert result.code == 3
    assert "was deleted at" in result.err
    assert "`perdure sessions restore late-parcel` brings it back" in result.err


def test_the_youngest_of_several_deleted_ones_is_restored_or_the_one_named(
    filled: str, perdure: Perdure
) -> None:
    with library.open_sync(filled) as store:
        first = store.sessions.get(LATE)
        store.sessions.delete(LATE)
        store.sessions.create(*LATE, title="The second")
        store.sessions.delete(LATE)

    perdure("sessions", "restore", "late-p")
    title = json.loads(perdure("show", "late-p", "--json").out)["session"]["title"]
    perdure("sessions", "rm", "late-p", "-y")
    perdure("sessions", "restore", "late-p", "--uid", first.uid)

    assert title == "The second"
    assert json.loads(perdure("show", "late-p", "--json").out)["session"]["uid"] == first.uid


def test_a_session_that_is_not_deleted_is_not_restored(shop: Perdure) -> None:
    assert shop("sessions", "restore", "late-p").code == 3


def test_what_is_purged_is_gone_deleted_or_not(filled: str, perdure: Perdure) -> None:
    perdure("sessions", "rm", "late-p", "--yes")

    result = perdure("sessions", "purge", "late-p", "empty", "--yes")

    assert result.err.splitlines() == [
        "late-parcel removed for good (5 events)",
        "empty removed for good (0 events)",
    ]
    with library.open_sync(filled) as store:
        assert store.sessions.count(include_deleted=True) == 1


def test_a_dry_run_removes_nothing(filled: str, perdure: Perdure) -> None:
    for verb in ("rm", "purge"):
        result = perdure("sessions", verb, "late-p", "--dry-run")

        assert result.code == 0
        assert result.err.startswith("late-parcel would be")
    assert "would erase 1 session" in perdure("erase", "shop", "ada", "--dry-run").out
    assert perdure("sweep", "--dry-run").code == 0
    assert len(left(filled)) == 3


def test_nothing_is_deleted_if_one_of_the_ids_is_wrong(filled: str, perdure: Perdure) -> None:
    assert perdure("sessions", "rm", "late-p", "nobody", "--yes").code == 3
    assert len(left(filled)) == 3


def test_children_go_with_the_session_that_opened_them(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        store.sessions.create("shop", "ada", "sub", parent=LATE)

    perdure("sessions", "rm", "late-p", "--children", "--yes")

    assert left(filled) == ["empty", "late-again"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_it_is_asked(filled: str) -> None:
    no = on_terminal(filled, "sessions", "rm", "late-p", typed="n\n")
    still = left(filled)
    yes = on_terminal(filled, "sessions", "rm", "late-p", typed="y\n")

    assert "Delete late-parcel 'Late parcel' with 5 events?" in no.out
    assert no.code == 1
    assert "late-parcel" in still
    assert yes.code == 0
    assert "late-parcel" not in left(filled)


# -- finding -------------------------------------------------------------------------------------


def test_an_id_may_be_shortened_as_long_as_it_is_unique(shop: Perdure) -> None:
    result = shop("show", "late")

    assert shop("show", "e").code == 0
    assert result.code == 2
    assert "'late' could be late-again, late-parcel: write more of it" in result.err
    assert shop("show", "late", "--user", "bob").code == 0
    assert shop("show", "late", "--app", "shop", "--user", "ada").code == 0


def test_a_whole_id_wins_over_a_longer_one(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        store.sessions.create("shop", "ada", "late")

    assert json.loads(perdure("show", "late", "--json").out)["session"]["id"] == "late"


def test_the_same_id_of_two_users_is_told_apart(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        store.sessions.create("shop", "bob", "late-parcel")

    result = perdure("show", "late-parcel")

    assert result.code == 2
    assert "late-parcel (app 'shop', user 'ada'), late-parcel (app 'shop', user 'bob')" in (
        result.err
    )
    assert perdure("show", "late-parcel", "--user", "bob").code == 0


def test_many_candidates_are_not_all_named(filled: str, perdure: Perdure) -> None:
    with library.open_sync(filled) as store:
        for number in range(300):
            store.sessions.create("many", "ada", f"many-{number:03}")

    result = perdure("show", "many-")

    assert result.err.count("many-") == 9
    assert "many-007, …" in result.err


def test_an_id_of_signs_is_no_pattern(shop: Perdure) -> None:
    for given in ("%", "_", "l%", "Late"):
        assert shop("show", given).code == 3
    assert shop("show", "").code == 2


def test_a_hold_is_shown_and_a_dry_run_says_what_the_command_would(
    url: str, perdure: Perdure
) -> None:
    with library.open_sync(url) as store:
        key = store.sessions.create("shop", "ada", "held").key
        store.sessions.hold(key, by="legal", reason="a case")

    assert "held by legal: a case" in perdure("sessions", "show", "held").out
    shown = json.loads(perdure("sessions", "show", "held", "--json").out)
    assert shown["hold"]["by"] == "legal"
    for command in ("rm", "purge"):
        for more in (["--dry-run"], ["--yes"]):
            ran = perdure("sessions", command, "held", *more)
            assert (ran.code, "a case" in ran.err) == (6, True), command
