"""Steps of runs: what a function gave is stored once, and given back from then on."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from perdure.errors import (
    BusyError,
    DeniedError,
    InvalidError,
    NotFoundError,
    StaleSessionError,
    TooLargeError,
)
from perdure.records import NewRunStep, Opaque, RunStep, SessionKey, UserScope
from perdure.store import Store
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore, Reopen
from perdure.values import Limits

ADA = UserScope("support", "ada")
MINUTE = timedelta(minutes=1)


class Counted:
    """A function that counts its calls."""

    def __init__(self, result: Any = "done") -> None:
        self.result = result
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.result

    async def later(self, *args: Any) -> Any:
        await asyncio.sleep(0)
        return self(*args)


# -- running once ----------------------------------------------------------------------------


async def test_a_step_is_run_once_and_its_result_given_back(store: Store) -> None:
    fetch = Counted({"total": 3})

    first = await store.step("run-1", "fetch", fetch, "a", 1)
    second = await store.step("run-1", "fetch", fetch, "a", 1)

    assert first == second == {"total": 3}
    assert fetch.calls == [("a", 1)]


async def test_a_step_is_given_back_after_a_restart(store: Store, reopen: Reopen) -> None:
    await store.step("run-1", "fetch", lambda: [1, 2])

    store = await reopen()

    again = Counted()
    assert await store.step("run-1", "fetch", again) == [1, 2]
    assert again.calls == []


async def test_an_async_function_is_awaited(store: Store) -> None:
    fetch = Counted(5)

    assert await store.step("run-1", "fetch", fetch.later, 1) == 5
    assert await store.step("run-1", "fetch", fetch.later, 1) == 5
    assert fetch.calls == [(1,)]


async def test_the_first_call_gives_what_later_ones_will_give(store: Store) -> None:
    first = await store.step("run-1", "pair", lambda: (1, (2,)))

    assert first == [1, [2]]


RESULTS: list[Any] = [
    None,
    False,
    0,
    "",
    [],
    {},
    2**70,
    -0.0,
    "\x00é",
    {"b": [1, None]},
    Opaque("c", b"\0"),
]


async def test_whatever_may_be_stored_comes_back_equal(store: Store) -> None:
    for number, result in enumerate(RESULTS):
        for _ in range(2):
            given = await store.step("run-1", f"step-{number}", lambda result=result: result)
            assert given == result, result


async def test_steps_of_other_names_runs_and_owners_are_others(
    store: Store, new_key: NewKey
) -> None:
    key = await new_key("one")
    places: list[tuple[str, str, Any]] = [
        ("run-1", "a", None), ("run-1", "b", None), ("run-2", "a", None),
        ("run-1", "a", ADA), ("run-1", "a", key), ("run-1", "a", await new_key("two")),
    ]  # fmt: skip

    for number, (run_id, name, owner) in enumerate(places):
        await store.step(run_id, name, Counted(number), owner=owner)

    given = [await store.step(r, n, Counted(-1), owner=owner) for r, n, owner in places]
    assert given == list(range(len(places)))


async def test_names_and_runs_do_not_run_into_each_other(store: Store) -> None:
    await store.step("a", "bc", Counted(1))

    assert await store.step("ab", "c", Counted(2)) == 2


async def test_long_names_of_any_text_are_names(store: Store) -> None:
    name, run_id = "é" * 256, "\U0001f600" * 128

    await store.step(run_id, name, Counted(1))

    [step] = (await store.steps.list(run_id)).items
    assert (step.run_id, step.name) == (run_id, name)


# -- failing ---------------------------------------------------------------------------------


async def test_a_step_that_raises_stores_nothing_and_is_run_again(store: Store) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by design")

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="by design"):
            await store.step("run-1", "fetch", fail)

    assert await store.steps.find("run-1", "fetch") is None
    assert await store.step("run-1", "fetch", Counted(1), timeout=0) == 1


async def test_a_result_that_cannot_be_stored_is_refused_and_the_step_is_free(store: Store) -> None:
    with pytest.raises(InvalidError, match="the result of step 'fetch'"):
        await store.step("run-1", "fetch", lambda: {1: 2})
    with pytest.raises(InvalidError):
        await store.step("run-1", "fetch", lambda: float("nan"))

    assert await store.step("run-1", "fetch", Counted(1), timeout=0) == 1


async def test_a_result_has_the_limit_of_an_event(open_store: OpenStore) -> None:
    store = await open_store(limits=Limits(event=10))

    with pytest.raises(TooLargeError):
        await store.step("run-1", "fetch", lambda: "x" * 10)


async def test_what_cannot_be_is_refused_and_nothing_is_called(store: Store) -> None:
    fetch = Counted()
    bad: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("", "a", fetch), {}), (("run-1", "", fetch), {}), (("run-1", "a", "fetch"), {}),
        (("run-1", "x" * 513, fetch), {}), (("run-1", "a", fetch), {"keep": timedelta(0)}),
        (("run-1", "a", fetch), {"lease": timedelta(0)}), (("run-1", "a", fetch), {"timeout": -1}),
        (("run-1", "a", fetch), {"timeout": True}), (("run-1", "a", fetch), {"fence": 1}),
        (("run-1", "a", fetch), {"keep": timedelta.max}),
        (("run-1", "a", fetch), {"lease": timedelta(days=365_001)}),
    ]  # fmt: skip
    for args, options in bad:
        with pytest.raises(InvalidError):
            await store.step(*args, **options)
    with pytest.raises(NotFoundError):
        await store.step("run-1", "a", fetch, owner=SessionKey("support", "ada", "nobody"))

    assert fetch.calls == []


# -- several at once -------------------------------------------------------------------------


async def test_who_comes_while_a_step_runs_waits_for_its_result(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def slow() -> str:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return "once"

    other = Counted()
    first = asyncio.ensure_future(store.step("run-1", "fetch", slow))
    await asyncio.to_thread(begun.wait, 10)
    second = asyncio.ensure_future(store.step("run-1", "fetch", other))
    with pytest.raises(BusyError, match="another process is at step 'fetch' of run 'run-1'"):
        await store.step("run-1", "fetch", other, timeout=0.05)
    go_on.set()

    assert [await first, await second] == ["once", "once"]
    assert other.calls == []


async def test_a_step_that_failed_is_run_by_who_waited(store: Store) -> None:
    begun = threading.Event()

    async def fail() -> None:
        begun.set()
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    first = asyncio.ensure_future(store.step("run-1", "fetch", fail))
    await asyncio.to_thread(begun.wait, 10)

    assert await store.step("run-1", "fetch", Counted("mine"), timeout=30) == "mine"
    with pytest.raises(ZeroDivisionError):
        await first


async def test_many_at_one_step_run_it_once(store: Store) -> None:
    fetch = Counted("once")

    given = await asyncio.gather(*(store.step("run-1", "fetch", fetch.later) for _ in range(12)))

    assert given == ["once"] * 12
    assert len(fetch.calls) == 1


async def test_a_step_of_a_dead_process_is_free_after_its_lease(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    other = await open_store()
    stuck, too_late = threading.Event(), threading.Event()

    async def dies() -> None:
        stuck.set()
        await asyncio.to_thread(too_late.wait, 30)

    dying = asyncio.ensure_future(other.step("run-1", "fetch", dies, lease=MINUTE))
    await asyncio.to_thread(stuck.wait, 10)
    clock.advance(2 * MINUTE)

    assert await store.step("run-1", "fetch", Counted("taken over"), timeout=30) == "taken over"
    too_late.set()
    # Who comes too late with a result of its own is given the stored one.
    assert await dying == "taken over"


async def test_a_step_inside_a_step_is_a_step_of_its_own(store: Store) -> None:
    async def outer() -> str:
        return "outer and " + str(await store.step("run-1", "inner", Counted("inner")))

    async def in_its_colour() -> str:
        return await asyncio.to_thread(lambda: asyncio.run(outer()))

    assert await store.step("run-1", "outer", in_its_colour) == "outer and inner"


async def test_a_step_that_asks_for_itself_is_refused_and_does_not_wait(store: Store) -> None:
    inner = Counted()

    async def outer() -> Any:
        return await store.step("run-1", "fetch", inner)

    async def in_its_colour() -> Any:
        return await asyncio.to_thread(lambda: asyncio.run(outer()))

    async with asyncio.timeout(20):
        with pytest.raises(InvalidError, match="step 'fetch' of run 'run-1' asks for itself"):
            await store.step("run-1", "fetch", in_its_colour)

    assert inner.calls == []
    # It is free, and nobody is inside of it any more.
    assert await store.step("run-1", "fetch", inner) == "done"


async def test_a_long_step_keeps_others_out_beyond_its_lease(open_store: OpenStore) -> None:
    store = await open_store(clock=None)
    began = threading.Event()

    async def long() -> str:
        began.set()
        time.sleep(0.6)  # noqa: ASYNC251 - it keeps the loop busy
        return "long"

    other = Counted()
    first = asyncio.ensure_future(
        asyncio.to_thread(
            lambda: asyncio.run(store.step("run-1", "fetch", long, lease=timedelta(seconds=0.3)))
        )
    )
    await asyncio.to_thread(began.wait, 10)

    assert await store.step("run-1", "fetch", other) == "long"
    assert await first == "long"
    assert other.calls == []


# -- what is stored --------------------------------------------------------------------------


async def test_steps_are_listed_in_the_order_they_were_stored(
    store: Store, clock: FixedClock
) -> None:
    for name in ("c", "a", "b"):
        await store.step("run-1", name, Counted(name))
    await store.step("run-2", "d", Counted())

    page = await store.steps.list("run-1", limit=2)
    rest = await store.steps.list("run-1", limit=2, cursor=page.next_cursor)

    assert [step.name for step in (*page.items, *rest.items)] == ["c", "a", "b"]
    assert rest.next_cursor is None
    assert page.items[0].created_at < rest.items[0].created_at < clock.now


async def test_find_gives_a_step_or_none(store: Store) -> None:
    await store.step("run-1", "a", Counted([1]))

    found = await store.steps.find("run-1", "a")

    assert isinstance(found, RunStep)
    assert (found.run_id, found.name, found.result, found.expires_at) == ("run-1", "a", [1], None)
    assert await store.steps.find("run-1", "b") is None


async def test_what_is_deleted_is_run_again(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.step("run-1", name, Counted(name))

    assert await store.steps.delete("run-1", "a") == 1
    assert await store.steps.delete("run-1", "a") == 0
    assert await store.step("run-1", "a", Counted("anew")) == "anew"
    assert await store.steps.delete("run-1") == 3
    assert await store.steps.delete("run-1") == 0


async def test_a_step_is_kept_as_long_as_was_said(
    store: Store, clock: FixedClock, dump: Dump
) -> None:
    await store.step("run-1", "a", Counted(1), keep=MINUTE)
    await store.step("run-1", "b", Counted(1))
    clock.advance(MINUTE)

    assert [step.name for step in (await store.steps.list("run-1")).items] == ["b"]
    assert await store.step("run-1", "a", Counted(2), keep=MINUTE) == 2
    clock.advance(MINUTE)
    swept = await store.sweep()

    assert swept.kinds["run_steps"].count == 1
    assert len((await dump())["run_steps"]) == 1


async def test_a_hook_sees_a_result_before_it_is_stored(open_store: OpenStore) -> None:
    def hook(record: Any) -> Any:
        if isinstance(record, NewRunStep):
            if record.name == "refused":
                raise DeniedError("not that")
            return NewRunStep(record.run_id, record.name, {"hidden": True})
        return record

    store = await open_store(on_write=hook)

    assert await store.step("run-1", "a", Counted("secret")) == {"hidden": True}
    with pytest.raises(DeniedError):
        await store.step("run-1", "refused", Counted("secret"))
    assert await store.steps.find("run-1", "refused") is None


# -- whose they are --------------------------------------------------------------------------


async def test_steps_go_with_their_session(store: Store, key: SessionKey, dump: Dump) -> None:
    await store.step("run-1", "a", Counted(1), owner=key)
    await store.step("run-1", "a", Counted(2), owner=ADA)

    await store.sessions.delete(key)
    with pytest.raises(NotFoundError):
        await store.steps.find("run-1", "a", owner=key)
    await store.sessions.restore(key)
    assert await store.step("run-1", "a", Counted(3), owner=key) == 1
    await store.sessions.purge(key)

    assert [step.result for step in (await store.steps.list("run-1", owner=ADA)).items] == [2]
    assert len((await dump())["run_steps"]) == 1


async def test_a_session_made_anew_has_no_steps(store: Store, key: SessionKey) -> None:
    await store.step("run-1", "a", Counted(1), owner=key)
    await store.sessions.delete(key)
    await store.sessions.create(*key)

    assert await store.step("run-1", "a", Counted(2), owner=key) == 2


async def test_a_step_whose_session_goes_while_it_runs_is_refused(
    store: Store, key: SessionKey
) -> None:
    async def drop() -> str:
        await asyncio.to_thread(lambda: asyncio.run(away()))
        return "too late"

    async def away() -> None:
        await store.sessions.delete(key)
        await store.sessions.create(*key)

    with pytest.raises(NotFoundError, match="was deleted while step 'a' ran"):
        await store.step("run-1", "a", drop, owner=key)

    assert await store.steps.find("run-1", "a", owner=key) is None


async def test_an_erasure_takes_the_steps_of_a_person(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.step("a run", "a", Counted("remember-me-not"), owner=key)
    await store.step("a run", "a", Counted("remember-me-not"), owner=ADA)

    await store.erase_user("support", "ada")

    assert (await dump())["run_steps"] == []


async def test_a_step_whose_person_is_erased_while_it_runs_stores_nothing(
    store: Store, open_store: OpenStore, dump: Dump
) -> None:
    other = await open_store()
    begun, go_on = threading.Event(), threading.Event()

    async def slow() -> str:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return "what ada said"

    running = asyncio.ensure_future(store.step("run-1", "fetch", slow, owner=ADA))
    await asyncio.to_thread(begun.wait, 10)
    await other.erase_user(*ADA)
    go_on.set()

    with pytest.raises(NotFoundError, match="erased while step 'fetch' ran"):
        await running
    tables = await dump()
    assert tables["run_steps"] == []
    assert tables["leases"] == []
    # The person may come back.
    assert await store.step("run-1", "fetch", Counted("anew"), owner=ADA) == "anew"


async def test_other_tenants_have_other_steps(store: Store, open_store: OpenStore) -> None:
    other = await open_store(tenant="acme")
    await store.step("run-1", "a", Counted(1))

    assert await other.step("run-1", "a", Counted(2)) == 2


async def test_a_result_behind_the_fence_of_its_run_is_refused(
    store: Store, key: SessionKey
) -> None:
    late = await store.sessions.lease(key, "run-1")

    async def overtaken() -> str:
        await asyncio.to_thread(lambda: asyncio.run(take()))
        return "late"

    async def take() -> None:
        await (await store.sessions.lease(key, "run-2", on_busy="take")).release()

    with pytest.raises(StaleSessionError):
        await store.step("run-1", "a", overtaken, owner=key, fence=late.fence)

    assert await store.steps.find("run-1", "a", owner=key) is None


async def test_steps_of_what_is_held_are_not_forgotten(store: Store, key: SessionKey) -> None:
    await store.step("run-1", "a", Counted(1), owner=key)
    await store.sessions.hold(key, by="legal", reason="case 1")

    with pytest.raises(DeniedError, match="case 1"):
        await store.steps.delete("run-1", owner=key)

    await store.sessions.release(key)
    assert await store.steps.delete("run-1", owner=key) == 1
