"""What processes do to the approvals of one store, whatever engine it is on."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any, Literal

import pytest

import perdure
from perdure import (
    ALL,
    Approval,
    ApprovalPendingError,
    ClosedError,
    ConflictError,
    DeniedError,
    Principal,
    SessionKey,
    SyncStore,
)
from tests.effort import effort
from tests.engines.processes import in_a_process, meet, python, side_by_side

APPROVALS = 300
#: Those that are raced with their end take as long as they live.
EXPIRING = effort(120, APPROVALS)
ARGS = {"n": 1}
BRIEF = timedelta(milliseconds=35)


def open_store(url: str) -> SyncStore:
    return perdure.open_sync(url, durability="normal")


def pending(url: str, count: int, **given: Any) -> list[str]:
    with open_store(url) as store:
        return [store.approvals.request("send", ARGS, **given).id for _ in range(count)]


# -- two resolvers ---------------------------------------------------------------------------------


def answer_all(
    url: str, name: str, decision: Literal["approve", "reject"], ids: list[str]
) -> list[str]:
    """Answer every one at the same time as the others; those that were won."""
    won, told = [], []
    who = Principal(name, ["approver"])
    with open_store(url) as store:
        for number, approval_id in enumerate(ids):
            if number % 10 == 0:
                meet()
            try:
                store.approvals.resolve(approval_id, decision, by=who)
                won.append(approval_id)
            except ConflictError as error:
                told.append(str(error))
    # Who has lost is told who has won.
    other = "two" if name == "one" else "one"
    assert all(repr(other) in text for text in told), told
    return won


def every_approval_has_one_answer(url: str) -> None:
    ids = pending(url, APPROVALS)

    one, two = side_by_side(answer_all, [(url, "one", "approve", ids), (url, "two", "reject", ids)])

    assert len(one) + len(two) == APPROVALS
    assert {*one, *two} == {*ids}
    # Else nobody was in anybody's way.
    assert one
    assert two
    with open_store(url) as store:
        for approval_id in ids:
            found = store.approvals.get(approval_id)
            won = ("approved", "one") if approval_id in one else ("rejected", "two")
            assert (found.status, found.resolved_by) == won
            assert len(store.approvals.audit(approval_id)) == 2


# -- two who run it --------------------------------------------------------------------------------


def use_all(url: str, ids: list[str]) -> list[str]:
    """Use every one at the same time as the others; those that might run here."""
    ran = []
    with open_store(url) as store:
        for number, approval_id in enumerate(ids):
            if number % 10 == 0:
                meet()
            if store.approvals.consume(approval_id, ARGS):
                ran.append(approval_id)
    return ran


def every_approval_is_used_once(url: str) -> None:
    ids = pending(url, APPROVALS)
    with open_store(url) as store:
        for approval_id in ids:
            store.approvals.approve(approval_id, by=Principal("boss", ["approver"]))

    one, two = side_by_side(use_all, [(url, ids), (url, ids)])

    assert sorted(one + two) == sorted(ids)
    # Else nobody was in anybody's way.
    assert one
    assert two


# -- answer against expiry -------------------------------------------------------------------------


def ask_and_answer(url: str, count: int) -> dict[str, bool]:
    """Approve each about when it expires, and use it at once; whether it might run."""
    ran = {}
    told: list[str] = []
    who = Principal("boss", ["approver"])
    with open_store(url) as store:
        meet()
        for number in range(count):
            made = store.approvals.request("send", ARGS, ttl=BRIEF)
            # From well before the moment to right after it.
            time.sleep(max(0.0, _seconds_left(made) - (number % 30 - 1) / 1000))
            try:
                store.approvals.approve(made.id, by=who)
                ran[made.id] = store.approvals.consume(made.id, ARGS)
            except ConflictError as error:
                told.append(str(error))
                ran[made.id] = False
    assert all("expired" in text for text in told), told
    return ran


def _seconds_left(made: Approval) -> float:
    assert made.expires_at is not None
    return (made.expires_at - datetime.now(UTC)).total_seconds()


def sweep_meanwhile(url: str, seconds: float) -> dict[str, bool]:
    with open_store(url) as store:
        meet()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            store.sweep()
            time.sleep(0.001)
    return {}


def an_approval_is_answered_or_expires_and_never_both(url: str) -> None:
    calls: list[tuple[object, ...]] = [(url, "ask"), (url, "sweep"), (url, "sweep")]
    ran, *_ = side_by_side(_race, calls)

    outcomes: Counter[str] = Counter()
    with open_store(url) as store:
        store.sweep()
        for approval_id, did in ran.items():
            steps = [step.to_status for step in store.approvals.audit(approval_id)]
            outcomes[steps[-1]] += 1
            assert steps in (
                ["pending", "approved", "consumed"],
                ["pending", "approved", "expired"],
                ["pending", "expired"],
            ), steps
            assert did is (steps[-1] == "consumed")
    assert sum(outcomes.values()) == EXPIRING
    # Both happen, or it was no race.
    assert min(outcomes["consumed"], outcomes["expired"]) > EXPIRING // 30, outcomes


def _race(url: str, role: str) -> dict[str, bool]:
    if role == "ask":
        return ask_and_answer(url, EXPIRING)
    return sweep_meanwhile(url, EXPIRING * 8 / 300)


# -- kill -9 ---------------------------------------------------------------------------------------

_DIES = """
import os, signal, sys, time
import perdure
url, folder, where, approval_id = sys.argv[1:5]
with perdure.open_sync(url) as store:
    print("here", flush=True)
    found = store.approvals.wait(approval_id, 30)
    assert found.status == "approved", found.status
    if where == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    ran = store.approvals.consume(approval_id, {"n": 1}, by="first")
    if where == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    if ran:
        open(f"{folder}/{approval_id}.{os.getpid()}", "w").close()
    if where == "anywhere":
        time.sleep(30)
"""


def who_is_killed_runs_a_tool_at_most_once(url: str, folder: Path) -> None:
    for where, status in (("before", "approved"), ("after", "consumed")):
        [approval_id] = pending(url, 1)
        with python(_DIES, url, str(folder), where, approval_id) as process:
            with open_store(url) as store:
                store.approvals.approve(approval_id, by=Principal("boss", ["approver"]))
            assert process.wait(30) == -signal.SIGKILL
        ran = len(list(folder.glob(f"{approval_id}.*")))
        with open_store(url) as store:
            found = store.approvals.get(approval_id)
            # The record says which: what is approved did not run, what is consumed may have.
            assert (found.status, ran) == (status, 0)
            again = store.approvals.consume(approval_id, ARGS, by="second")
            by = store.approvals.audit(approval_id)[-1].by
        assert again is (where == "before")
        assert by == ("second" if again else "first")


def killed_at_random_it_runs_at_most_once(url: str, folder: Path, rounds: int) -> None:
    """Two processes in a row that would run it: the first is killed at some moment."""
    seen: Counter[str] = Counter()
    for number in range(rounds):
        [approval_id] = pending(url, 1)
        with open_store(url) as store:
            store.approvals.approve(approval_id, by=Principal("boss", ["approver"]))
        with python(_DIES, url, str(folder), "anywhere", approval_id) as process:
            _kill_about_when_it_is_used(url, approval_id, process, number)
        with open_store(url) as store:
            before = store.approvals.get(approval_id).status
            again = store.approvals.consume(approval_id, ARGS)
        ran = len(list(folder.glob(f"{approval_id}.*")))
        assert again is (before == "approved")
        assert ran + again <= 1, (before, ran, again)
        seen[before] += 1
    assert set(seen) <= {"approved", "consumed"}
    assert seen["consumed"] >= rounds // 2


def _kill_about_when_it_is_used(
    url: str, approval_id: str, process: Popen[bytes], number: int
) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    if number % 2:
        # Once it is used, before or after the tool has run.
        with open_store(url) as store:
            while store.approvals.get(approval_id).status != "consumed":
                assert process.poll() is None
    else:
        time.sleep(random.random() * 0.01)
    process.kill()
    process.wait(30)


def ask_in_turns(url: str, key: SessionKey, into: int) -> None:
    """Say, keep and ask in one turn after the other, and tell of each that is done."""
    with open_store(url) as store:
        for number in range(10**6):
            now, before = str(number), str(number - 1) if number else None
            with store.turn() as turn:
                turn.events.append(key, f"May I {now}?")
                turn.checkpoints.put(
                    key.id, {"n": number}, id=now, parent=before, session=key,
                    versions={"asked": now}, values={"asked": [now]},
                )  # fmt: skip
                turn.approvals.request("send", {"n": number}, session=key, tool_call_id=now)
            os.write(into, b".")


def killed_in_a_turn(url: str, key: SessionKey, chance: random.Random) -> int:
    """How many turns were acknowledged to a process before it was killed at some moment."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ask_in_turns(url, key, into)
        finally:
            os._exit(1)
    os.close(into)
    told = os.read(out, 1) if chance.random() < 0.9 else b""
    time.sleep(chance.random() * 0.02)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    # It was killed, and did not fail before.
    assert os.WIFSIGNALED(status), status
    while some := os.read(out, 4096):
        told += some
    os.close(out)
    return len(told)


def kill_in_turns(url: str, rounds: int, seed: int) -> list[int]:
    """How many turns each of the killed has stored, whole."""
    chance = random.Random(seed)
    keys = [SessionKey("shop", "ada", f"chat {number}") for number in range(rounds)]
    with open_store(url) as store:
        for key in keys:
            store.sessions.create(*key)
    told = [killed_in_a_turn(url, key, chance) for key in keys]
    with open_store(url) as store:
        return [_whole_turns(store, key, told[number]) for number, key in enumerate(keys)]


def _whole_turns(store: SyncStore, key: SessionKey, told: int) -> int:
    # It waits for what a server may still be doing for the one that was killed.
    store.events.append(key, "over")
    said = [event.text for event in store.events.read(key)][:-1]
    kept = [found.checkpoint for found in store.checkpoints.list(key.id, limit=1000).items]
    asked = [one.tool_call_id for one in store.approvals.iter(session=key)]

    numbers = [str(n) for n in range(len(said))]
    assert said == [f"May I {n}?" for n in numbers]
    assert [one.key.id for one in kept][::-1] == numbers
    assert [one.values["asked"] for one in kept][::-1] == [[n] for n in numbers]
    assert asked[::-1] == numbers
    # What was acknowledged is there, and at most one turn more.
    assert len(said) - told in {0, 1}, (len(said), told)
    return len(said)


def who_is_killed_in_a_turn_has_said_kept_and_asked_or_nothing(url: str, rounds: int) -> None:
    seed = random.randrange(2**32)
    turns = in_a_process(kill_in_turns, url, rounds, seed, seconds=300)

    assert len(turns) == rounds
    # Else all were killed at the same point.
    assert len(set(turns)) > 1, f"seed {seed}"


# -- restart, close --------------------------------------------------------------------------------


def approve_one(url: str, approval_id: str) -> None:
    with open_store(url) as store:
        store.approvals.approve(approval_id, by=Principal("boss", ["approver"]))


def what_was_approved_while_nobody_waited_is_found(url: str) -> None:
    """The one who asked is gone; another process says yes; the next one runs it."""
    ran: list[int] = []

    def once() -> None:
        with open_store(url) as store:
            about = {"thread_id": "t", "tool_call_id": "c1"}

            @store.approvals.required(about=about, wait=False)
            def send(n: int) -> None:
                ran.append(n)

            send(1)

    with pytest.raises(ApprovalPendingError) as waiting:
        once()
    in_a_process(approve_one, url, waiting.value.approval_id)
    once()
    with pytest.raises(DeniedError, match="used already"):
        once()
    assert ran == [1]


def a_tool_that_waits_does_not_run_when_the_store_is_closed(url: str) -> None:
    ran: list[int] = []
    outcome: list[BaseException] = []
    store = open_store(url)

    @store.approvals.required(about={"thread_id": "t"})
    def send(n: int) -> None:
        ran.append(n)

    def work() -> None:
        try:
            send(1)
        except ClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not (found := store.approvals.list(app=ALL).items):
        time.sleep(0.01)
    time.sleep(0.1)
    store.close()
    in_a_process(approve_one, url, found[0].id)
    thread.join(20)

    assert [type(error) for error in outcome] == [ClosedError]
    assert ran == []
    with open_store(url) as again:
        # It may still run, for whoever asks for the same call: nobody has used it.
        assert again.approvals.get(found[0].id).status == "approved"


def wait_long(url: str, approval_id: str, seconds: float) -> str:
    with open_store(url) as store:
        meet()
        return store.approvals.wait(approval_id, seconds).status


def recover(url: str, approval_id: str, seconds: float) -> list[str]:
    """Restart again and again beside a process that waits."""
    expired: list[str] = []
    with open_store(url) as store:
        meet()
        # Until it waits: what nobody waits for is given to whoever asks.
        while approval_id in [one.id for one in store.approvals.recover_pending().pending]:
            time.sleep(0.02)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = store.approvals.recover_pending(max_age=timedelta(microseconds=1))
            expired += [one.id for one in found.expired]
            assert [one.id for one in found.pending] == []
            store.sweep()
            time.sleep(0.1)
    return expired


def nobody_expires_what_a_living_process_waits_for(url: str, seconds: float = 12) -> None:
    """For longer than the lease of a wait lasts: it is the renewals that count."""
    waited, left = pending(url, 2)

    status, expired = side_by_side(
        _wait_or_recover,
        [(url, waited, seconds + 3, "wait"), (url, waited, seconds, "recover")],
    )

    assert status == "pending"
    assert expired == [left]


def _wait_or_recover(url: str, approval_id: str, seconds: float, role: str) -> object:
    return (wait_long if role == "wait" else recover)(url, approval_id, seconds)


# -- how soon --------------------------------------------------------------------------------------


def wait_for_each(url: str, ids: list[str]) -> list[float]:
    """When each answer was here."""
    here = []
    with open_store(url) as store:
        for approval_id in ids:
            meet()
            assert store.approvals.wait(approval_id, 30).status == "approved"
            here.append(time.time())
    return here


def answer_each(url: str, ids: list[str]) -> list[float]:
    """When each answer was given."""
    given = []
    who = Principal("boss", ["approver"])
    with open_store(url) as store:
        for number, approval_id in enumerate(ids):
            meet()
            # The one who waits has looked often by then, and looks seldom.
            time.sleep(0.35 + number * 0.013)
            store.approvals.approve(approval_id, by=who)
            given.append(time.time())
    return given


def delays(url: str, count: int = effort(8, 20)) -> list[float]:
    """How long after an answer who waits in another process has it, in seconds, sorted."""
    ids = pending(url, count)
    here, given = side_by_side(_wait_or_answer, [(url, ids, "wait"), (url, ids, "answer")])
    return sorted(max(0.0, h - g) for h, g in zip(here, given, strict=True))


def _wait_or_answer(url: str, ids: list[str], role: str) -> list[float]:
    return (wait_for_each if role == "wait" else answer_each)(url, ids)
