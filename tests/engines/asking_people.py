"""What processes do with questions to people at the same moment: for tests of each engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

import perdure
from perdure import ConflictError, SessionKey, UserScope
from tests.engines.processes import meet, python, side_by_side

KEY = SessionKey("app", "user", "chat")
USER = UserScope("app", "user")
_SECONDS = 60.0

_WAIT = """
import sys, perdure
with perdure.open_sync(sys.argv[1]) as store:
    print("waiting", flush=True)
    store.clarifications.wait(sys.argv[2])
"""


def prepare(url: str) -> None:
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)


# -- one winner ------------------------------------------------------------------------------


def answer_all(url: str, name: str, ids: Sequence[str]) -> list[str]:
    """Answer each at the same time as all others; the ids for which this one was the first."""
    won = []
    with perdure.open_sync(url, durability="normal") as store:
        for number, one in enumerate(ids):
            if number % 10 == 0:
                meet()
            try:
                store.clarifications.answer(one, name, by=name)
                won.append(one)
            except ConflictError:
                continue
    return won


def each_has_one_winner(url: str, *, count: int, answerers: int) -> None:
    prepare(url)
    with perdure.open_sync(url, durability="normal") as store:
        ids = [store.clarifications.ask(KEY, f"question {n}").id for n in range(count)]

    won = side_by_side(answer_all, [(url, f"p{n}", ids) for n in range(answerers)])

    assert sorted(one for own in won for one in own) == sorted(ids)
    winners = {one: f"p{n}" for n, own in enumerate(won) for one in own}
    with perdure.open_sync(url) as store:
        stored = {one.id: one for one in store.clarifications.iter()}
    assert {id_: one.answer for id_, one in stored.items()} == winners
    assert all(one.answered_by == one.answer for one in stored.values())
    # Else nobody was in anybody's way.
    assert all(won)


# -- one question ----------------------------------------------------------------------------


def ask_all(url: str, count: int) -> list[tuple[str, str]]:
    """Ask the same of a session and of its person as all others do; the ids."""
    ids = []
    with perdure.open_sync(url, durability="normal") as store:
        for number in range(count):
            meet()
            of_session = store.clarifications.ask(KEY, f"question {number}").id
            ids.append((of_session, store.clarifications.ask(USER, f"question {number}").id))
    return ids


def one_question_is_one_row(url: str, *, count: int, processes: int) -> None:
    prepare(url)

    asked = side_by_side(ask_all, [(url, count) for _ in range(processes)])

    assert asked == [asked[0]] * processes
    with perdure.open_sync(url) as store:
        stored = sorted(one.id for one in store.clarifications.iter())
    assert stored == sorted(one for pair in asked[0] for one in pair)


# -- pairs -----------------------------------------------------------------------------------


def ask_or_answer(url: str, role: str, number: int, rounds: int) -> list[str | None]:
    """What was answered to one who asks and waits, while another looks for it and answers."""
    answers: list[str | None] = []
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for turn in range(rounds):
            question = f"question {number}, {turn}"
            if role == "ask":
                asked = store.clarifications.ask(KEY, question)
                answers.append(store.clarifications.wait(asked.id, timeout=_SECONDS).answer)
                continue
            found = None
            while found is None:
                time.sleep(0.01)
                found = store.clarifications.find_pending(KEY, question)
            store.clarifications.answer(found.id, f"answer to {question}")
    return answers


def pairs_do_not_mix(url: str, *, pairs: int, rounds: int) -> None:
    prepare(url)
    calls = [(url, role, n, rounds) for n in range(pairs) for role in ("ask", "answer")]

    answers = side_by_side(ask_or_answer, calls)[::2]

    assert answers == [
        [f"answer to question {n}, {turn}" for turn in range(rounds)] for n in range(pairs)
    ]


# -- how soon --------------------------------------------------------------------------------


def wait_or_answer(url: str, role: str, ids: Sequence[str]) -> list[float]:
    """When each answer was acknowledged, or seen by who waits, by the clock of the machine."""
    moments = []
    with perdure.open_sync(url, durability="normal") as store:
        for number, one in enumerate(ids):
            meet()
            if role == "wait":
                assert store.clarifications.wait(one, timeout=_SECONDS).status == "answered"
            else:
                # At another point of a pause between two looks each time.
                time.sleep(0.3 + 0.017 * number)
                store.clarifications.answer(one, "yes")
            moments.append(time.monotonic())
    return moments


def an_answer_is_seen_within(url: str, seconds: float, *, count: int) -> None:
    prepare(url)
    with perdure.open_sync(url) as store:
        ids = [store.clarifications.ask(KEY, f"question {n}").id for n in range(count)]

    seen, given = side_by_side(wait_or_answer, [(url, role, ids) for role in ("wait", "answer")])

    delays = sorted(later - sooner for later, sooner in zip(seen, given, strict=True))
    # Of a busy machine: not the slowest one.
    assert median(delays) < seconds, delays


# -- one who dies ----------------------------------------------------------------------------


def the_lease_of_a_killed_waiter_ends(url: str) -> None:
    prepare(url)
    with perdure.open_sync(url) as store:
        asked = store.clarifications.ask(KEY, "question")
        with python(_WAIT, url, asked.id) as waiter:
            assert waiter.stdout is not None
            assert waiter.stdout.readline().strip() == b"waiting", sys.executable
            found = store.clarifications.recover_pending(max_age=timedelta(0, 5))
            deadline = time.monotonic() + 20
            while not found.waited_for and time.monotonic() < deadline:
                time.sleep(0.02)
                found = store.clarifications.recover_pending()
            assert [one.id for one in found.waited_for] == [asked.id]
            waiter.kill()
            waiter.wait(20)
        dead = store.clarifications.recover_pending(max_age=timedelta(0))
        assert [one.id for one in dead.waited_for] == [asked.id]
    later = timedelta(seconds=11)
    with perdure.open_sync(url, clock=lambda: datetime.now(UTC) + later) as store:
        found = store.clarifications.recover_pending(max_age=timedelta(0))
        assert [one.id for one in found.expired] == [asked.id]
