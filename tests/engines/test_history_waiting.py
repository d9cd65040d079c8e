"""`history(on_error="log")`: what the store cannot take now waits, in order, and comes once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from perdure import BusyError, SessionKey, SyncStore
from perdure.testing import open_failing_sync
from perdure.testing.failing import SyncFailing

KEY = SessionKey("", "", "chat")


@pytest.fixture
def failing() -> Iterator[SyncFailing]:
    failing = open_failing_sync()
    with failing.store:
        yield failing


def told(store: SyncStore) -> list[str]:
    return [event.text for event in store.events.read(KEY)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_failed_waits_and_is_stored_once_and_in_order(
    failing: SyncFailing, after: bool
) -> None:
    store, engine = failing
    view = store.history(on_error="log")
    view.add_message("chat", "user", "one")
    engine.fail(BusyError("locked"), name="history.*", times=3, after=after)

    assert view.add_message("chat", "user", "two") == 0
    assert view.add_message("chat", "user", "three") == 0
    view.set_summary("chat", "a story")
    assert view.get_summary("chat") == "a story"

    view.save("chat")
    assert told(store) == ["one", "two", "three"]
    assert view.add_message("chat", "user", "four") == 4


def test_closing_the_view_stores_what_waits(failing: SyncFailing) -> None:
    store, engine = failing
    view = store.history(on_error="log")
    engine.fail(BusyError("locked"), name="history.*")
    view.add_message("chat", "user", "one")
    assert store.sessions.find(KEY) is None

    view.close()

    assert told(store) == ["one"]


def test_no_more_wait_than_there_is_room_for(
    failing: SyncFailing, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, engine = failing
    monkeypatch.setattr("perdure.features.history._MOST_WAITING", 2)
    view = store.history(on_error="log")
    engine.fail(BusyError("locked"), name="history.*", times=None)
    with caplog.at_level(logging.ERROR, "perdure.history"):
        for text in ("one", "two", "three"):
            view.add_message("chat", "user", text)
    assert "lost" in caplog.text

    engine.heal()
    view.save("chat")

    assert told(store) == ["one", "two"]


def test_by_default_errors_are_raised_and_nothing_waits(failing: SyncFailing) -> None:
    store, engine = failing
    view = store.history()
    engine.fail(BusyError("locked"), name="history.*")

    with pytest.raises(BusyError):
        view.add_message("chat", "user", "one")
    view.save("chat")

    assert store.sessions.find(KEY) is None
