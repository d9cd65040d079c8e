"""Several processes index, search and redact the same conversation at the same moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import apsw
import pytest

import perdure
from perdure import NewEvent, SessionKey, UserScope
from perdure.features.fulltext import tidy
from perdure.parts import place
from tests.engines.processes import meet, side_by_side
from tests.postgres.servers import drop_database, fetch, fresh_database, server

KEY = SessionKey("app", "user", "chat")
SCOPE = place("", "app", "user", 512)
PROCESSES = 4
EVENTS = 12

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgres":
        url = fresh_database(server())
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
    yield url
    if request.param == "postgres":
        drop_database(url)


def talk(url: str, name: str) -> list[str]:
    """Say, find, redact, and find no more; what went wrong."""
    wrong = []
    with perdure.open_sync(url) as store:
        meet()
        for number in range(EVENTS):
            word, event_id = f"secret{name}x{number}", f"{name} {number}"
            store.events.append(KEY, NewEvent(f"{word} parcel", id=event_id))
            found = [hit.key for hit in store.search("app", "user", word)]
            if found[:1] != [event_id]:
                wrong.append(f"{event_id} is not found: {found}")
            store.events.redact(KEY, event_id, f"withheld parcel {number}")
            if store.search("app", "user", word):
                wrong.append(f"{event_id} is found when it is redacted")
    return wrong


def rows(url: str, text: str) -> list[tuple[Any, ...]]:
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        return connection.execute(text).fetchall()
    return [tuple(row) for row in fetch(url, text)]


def test_every_write_is_found_once_and_no_redacted_word_stays(url: str) -> None:
    wrong = side_by_side(talk, [(url, f"p{n}") for n in range(PROCESSES)])

    assert wrong == [[]] * PROCESSES
    with perdure.open_sync(url) as store:
        hits = store.search("app", "user", "parcel", limit=1000)
    assert len({hit.key for hit in hits}) == len(hits) == PROCESSES * EVENTS
    [(documents,)] = rows(url, "SELECT SUM(documents) FROM search_blocks")
    assert documents == PROCESSES * EVENTS
    kept = [words for (words,) in rows(url, "SELECT words FROM search_blocks")]
    assert [words for words in kept if "secret" in words] == []


def ask(url: str, name: str, uid: str) -> list[str]:
    """Ask and answer, search, and have the index put in order; what went wrong."""
    wrong = []
    with perdure.open_sync(url) as store:
        meet()
        for number in range(EVENTS):
            for of in (KEY, UserScope("app", "user")):
                asked = store.clarifications.ask(of, f"zebra {name} {number}").id
                word = f"said{name}x{number}{type(of).__name__}"
                store.clarifications.answer(asked, word)
                found = [hit.key for hit in store.search("app", "user", word)]
                if found != [asked]:
                    wrong.append(f"{asked} is not found: {found}")
            for session in ("", uid):
                order = tidy(SCOPE, "clarifications", f"{name}{number}{session}", uid=session)
                store._engine.run(order)
    return wrong


def test_an_index_that_is_put_in_order_meanwhile_has_every_question_once(url: str) -> None:
    [(uid,)] = rows(url, "SELECT uid FROM sessions")
    wrong = side_by_side(ask, [(url, f"p{n}", uid) for n in range(PROCESSES)])

    assert wrong == [[]] * PROCESSES
    with perdure.open_sync(url) as store:
        hits = store.search("app", "user", "zebra", limit=1000)
    assert len({hit.key for hit in hits}) == len(hits) == 2 * PROCESSES * EVENTS
    [(documents,)] = rows(url, "SELECT SUM(documents) FROM search_blocks")
    assert documents == 2 * PROCESSES * EVENTS


def answer(url: str, ids: list[str]) -> int:
    """Answer what is still there; how many that were."""
    done = 0
    with perdure.open_sync(url) as store:
        meet()
        for one in ids:
            with suppress(perdure.NotFoundError):
                store.clarifications.answer(one, "secret")
                done += 1
    return done


def erase(url: str, ids: list[str]) -> int:
    """Remove the session they are of, in the middle."""
    with perdure.open_sync(url, deleted_grace=timedelta(0)) as store:
        meet()
        while store.clarifications.get(ids[len(ids) // 4]).status == "pending":
            sleep(0.001)
        store.sessions.delete(KEY)
    return 0


def work(url: str, how: str, ids: list[str]) -> int:
    """One of the two, side by side."""
    return answer(url, ids) if how == "answer" else erase(url, ids)


def test_an_answer_while_its_session_is_removed_leaves_no_word(url: str) -> None:
    with perdure.open_sync(url) as store:
        ids = [store.clarifications.ask(KEY, f"secret {n}").id for n in range(80)]

    halves = [ids[::2], ids[1::2]]
    done = side_by_side(
        work, [(url, "answer", halves[0]), (url, "answer", halves[1]), (url, "erase", ids)]
    )

    assert sum(done) >= 10
    assert rows(url, "SELECT 1 FROM clarifications") == []
    assert rows(url, "SELECT 1 FROM search_blocks") == []
