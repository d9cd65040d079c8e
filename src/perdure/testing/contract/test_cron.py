"""Tasks: making, changing, pausing, listing them, bringing them in from configuration."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    DELETE,
    AlreadyExistsError,
    ConflictError,
    CronSync,
    InvalidError,
    NewCronTask,
    NotFoundError,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import START, FixedClock
from perdure.testing.databases import OpenStore, Reopen

HOUR = timedelta(hours=1)


async def test_a_task_comes_back_as_it_was_made(store: Store, reopen: Reopen) -> None:
    made = await store.cron.create(
        "digest", "30 7 * * MON-FRI", {"type": "report", "to": ["ada", None]},
        app="shop", timezone="Europe/Berlin", misfire="all", misfire_limit=7, overlap="queue",
        timeout=timedelta(minutes=5),
    )  # fmt: skip
    store = await reopen()

    assert await store.cron.get(made.id) == made
    assert await store.cron.find("digest", app="shop") == made
    assert (made.name, made.app, made.expression) == ("digest", "shop", "30 7 * * MON-FRI")
    assert made.action == {"type": "report", "to": ["ada", None]}
    assert (made.misfire, made.misfire_limit, made.overlap) == ("all", 7, "queue")
    assert (made.enabled, made.paused_by, made.source) == (True, "", "tool")
    assert (made.timezone, made.timeout) == ("Europe/Berlin", timedelta(minutes=5))
    assert made.last_triggered_at is None
    # The first of January is a Thursday; half past seven is 06:30 UTC there.
    assert made.next_run_at == datetime(2026, 1, 1, 6, 30, tzinfo=UTC)


async def test_a_task_without_options_has_the_documented_ones(store: Store) -> None:
    made = await store.cron.create("digest", "@daily")

    assert (made.app, made.timezone, made.action, made.timeout) == ("", "UTC", None, None)
    assert (made.misfire, made.misfire_limit, made.overlap) == ("once", 100, "skip")
    assert made.next_run_at == START + timedelta(days=1)
    assert made.created_at == made.updated_at


async def test_a_name_is_taken_once_in_an_app_of_a_tenant(
    store: Store, open_store: OpenStore
) -> None:
    first = await store.cron.create("digest", "@daily", app="shop")
    other = await open_store(tenant="acme")

    with pytest.raises(AlreadyExistsError, match="digest"):
        await store.cron.create("digest", "@hourly", app="shop")
    elsewhere = await store.cron.create("digest", "@hourly", app="bank")
    theirs = await other.cron.create("digest", "@hourly", app="shop")

    assert len({first.id, elsewhere.id, theirs.id}) == 3
    assert (await store.cron.get(first.id)).expression == "@daily"


async def test_what_another_tenant_has_is_not_found_by_its_id(
    store: Store, open_store: OpenStore
) -> None:
    task = await store.cron.create("digest", "@daily")
    run = await store.cron.trigger(task.id)
    other = await open_store(tenant="acme")

    for call in (other.cron.get, other.cron.resume, other.cron.trigger):
        with pytest.raises(NotFoundError, match=task.id):
            await call(task.id)
    with pytest.raises(NotFoundError, match=run.id):
        await other.cron.get_run(run.id)
    assert await other.cron.delete(task.id) is False
    assert list(await other.cron.list(ALL)) == []
    assert list(await other.cron.runs(app=ALL)) == []
    assert await store.cron.get(task.id) == task


BAD_EXPRESSIONS: list[tuple[Any, str]] = [
    ("", "0 fields"),
    ("* * * *", "4 fields"),
    ("* * * * * *", "six fields: leave out the seconds"),
    ("60 * * * *", "'60' is no minute"),
    ("* 24 * * *", "'24' is no hour"),
    ("* * 0 * *", "'0' is no day of the month"),
    ("* * * 13 *", "'13' is no month"),
    ("* * * FOO *", "'FOO' is no month"),
    ("* * * * 8", "'8' is no day of the week"),
    ("*/0 * * * *", "is no minute"),
    ("5-1 * * * *", "is no minute"),
    ("0 0 1--100000000 * *", "is no day of the month"),
    ("0 0 30 2 *", "never comes"),
    ("@reboot", "is none of @annually"),
    ("@never", "is none of @annually"),
    ("* * * * *" + " " * 200, "limit is 200"),
    (5, "must be text"),
    ("\0 * * * *", "NUL"),
]


async def test_a_bad_expression_is_refused_and_nothing_is_written(store: Store) -> None:
    task = await store.cron.create("good", "@daily")

    for expression, says in BAD_EXPRESSIONS:
        both = [NewCronTask("ok", "@daily"), NewCronTask("bad", expression)]
        with pytest.raises(InvalidError, match=says) as made:
            await store.cron.create("bad", expression)
        with pytest.raises(InvalidError, match=says):
            await store.cron.update(task.id, expression=expression)
        with pytest.raises(InvalidError, match=says):
            await store.cron.sync(both)
        with pytest.raises(InvalidError, match=says):
            await store.cron.upcoming(expression)
        assert made.value.path == "expression"

    assert list(await store.cron.list()) == [task]


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"timezone": "Mars/Olympus"}, "timezone"),
    ({"timezone": ""}, "timezone"),
    ({"timezone": "../UTC"}, "timezone"),
    ({"timezone": "Europe"}, "timezone"),
    ({"timezone": None}, "timezone"),
    ({"misfire": "twice"}, "misfire"),
    ({"misfire_limit": 0}, "misfire_limit"),
    ({"misfire_limit": True}, "misfire_limit"),
    ({"overlap": "never"}, "overlap"),
    ({"timeout": timedelta(0)}, "timeout"),
    ({"timeout": 5}, "timeout"),
    ({"enabled": 1}, "enabled"),
    ({"action": {"at": START}}, "action.at"),
    ({"action": float("nan")}, "action"),
]


async def test_each_field_is_checked_and_named(store: Store) -> None:
    for options, path in BAD_OPTIONS:
        with pytest.raises(InvalidError) as error:
            await store.cron.create("bad", "@daily", **options)
        assert error.value.path == path, options

    assert list(await store.cron.list()) == []


async def test_names_and_ids_have_limits(store: Store) -> None:
    with pytest.raises(InvalidError, match="blank"):
        await store.cron.create(" ", "@daily")
    with pytest.raises(TooLargeError):
        await store.cron.create("n" * 513, "@daily")
    for bad in ("", "x", "task_", "task_0_1", "run_" + "0" * 32 + "_1"):
        with pytest.raises((NotFoundError, InvalidError)):
            await store.cron.get(bad)
    assert await store.cron.find("nobody") is None
    longest = await store.cron.create("é" * 256, "@daily", app="a" * 512)
    assert await store.cron.find("é" * 256, app="a" * 512) == longest


async def test_an_update_changes_what_is_given(store: Store, clock: FixedClock) -> None:
    task = await store.cron.create("digest", "0 8 * * *", {"a": 1}, timeout=HOUR)
    clock.advance(HOUR)

    changed = await store.cron.update(task.id, action={"b": 2}, misfire="skip", overlap="allow")
    without = await store.cron.update(task.id, timeout=DELETE, misfire_limit=3)
    bare = await store.cron.update(task.id, action=DELETE)

    assert (changed.action, changed.misfire, changed.overlap) == ({"b": 2}, "skip", "allow")
    assert (changed.next_run_at, changed.timeout) == (task.next_run_at, HOUR)
    assert changed.updated_at > task.updated_at
    assert (without.timeout, without.misfire_limit, without.action) == (None, 3, {"b": 2})
    assert bare.action is None
    assert await store.cron.get(task.id) == bare


async def test_another_expression_or_zone_gives_another_next_slot(store: Store) -> None:
    task = await store.cron.create("digest", "0 8 * * *")

    hourly = await store.cron.update(task.id, expression="@hourly")
    tokyo = await store.cron.update(task.id, expression="0 8 * * *", timezone="Asia/Tokyo")

    assert task.next_run_at == START.replace(hour=8)
    assert hourly.next_run_at == START.replace(hour=1)
    assert tokyo.next_run_at == START.replace(hour=23)


async def test_an_update_of_nothing_changes_nothing(store: Store) -> None:
    task = await store.cron.create("digest", "0 8 * * *")

    assert await store.cron.update(task.id, expression="0 8 * * *") == task
    with pytest.raises(NotFoundError):
        await store.cron.update(task.id[:-1] + "~", expression="@daily")


async def test_a_paused_task_has_no_next_slot_and_resumes_with_the_first_after_now(
    store: Store, clock: FixedClock
) -> None:
    task = await store.cron.create("digest", "@hourly")

    paused = await store.cron.pause(task.id, by="ada")
    clock.advance(5 * HOUR)
    resumed = await store.cron.resume(task.id)

    assert (paused.enabled, paused.paused_by, paused.next_run_at) == (False, "ada", None)
    assert (resumed.enabled, resumed.paused_by) == (True, "")
    assert resumed.next_run_at == START + 6 * HOUR
    with pytest.raises(InvalidError, match="by"):
        await store.cron.pause(task.id, by="")


async def test_switching_on_ends_a_pause(store: Store) -> None:
    task = await store.cron.create("digest", "@hourly", enabled=False)
    assert (task.enabled, task.next_run_at) == (False, None)
    await store.cron.pause(task.id, by="ada")

    on = await store.cron.update(task.id, enabled=True)

    assert (on.enabled, on.paused_by) == (True, "")
    assert on.next_run_at == START + HOUR


async def test_deleting_a_task_keeps_its_runs_and_frees_its_name(store: Store) -> None:
    task = await store.cron.create("digest", "@hourly")
    run = await store.cron.trigger(task.id)

    assert await store.cron.delete(task.id) is True
    assert await store.cron.delete(task.id) is False
    with pytest.raises(NotFoundError):
        await store.cron.get(task.id)
    again = await store.cron.create("digest", "@hourly")

    [left] = await store.cron.runs(task.id)
    assert (left.id, left.status, left.task_name) == (run.id, "skipped", "digest")
    assert left.error == "its task was deleted"
    assert again.id != task.id
    assert list(await store.cron.runs(again.id)) == []


async def test_tasks_are_listed_by_name_in_pages(store: Store) -> None:
    for name in ("c", "a", "b"):
        await store.cron.create(name, "@daily", app="shop", enabled=name != "b")
    await store.cron.create("z", "@daily", app="bank")
    await store.cron.sync([NewCronTask("d", "@daily")], app="shop")

    first = await store.cron.list("shop", limit=3)
    rest = await store.cron.list("shop", limit=3, cursor=first.next_cursor)

    assert [task.name for task in first] == ["a", "b", "c"]
    assert ([task.name for task in rest], rest.next_cursor) == (["d"], None)
    assert [task.name async for task in store.cron.iter("shop", enabled=False)] == ["b"]
    assert [task.name async for task in store.cron.iter("shop", source="config")] == ["d"]
    everything = [(task.app, task.name) async for task in store.cron.iter(ALL)]
    assert everything == [("bank", "z"), *(("shop", name) for name in "abcd")]
    with pytest.raises(InvalidError, match="source"):
        await store.cron.list(source="elsewhere")


# -- configuration -------------------------------------------------------------------------------


async def test_sync_adds_updates_and_switches_off_what_is_gone(store: Store) -> None:
    mine = await store.cron.create("mine", "@daily")
    first = await store.cron.sync([NewCronTask("a", "@daily"), NewCronTask("b", "@daily")])
    old = await store.cron.find("a")

    second = await store.cron.sync(
        [NewCronTask("a", "@hourly", {"n": 1}), NewCronTask("c", "@daily")]
    )

    assert first == CronSync(("a", "b"), (), ())
    assert second == CronSync(("c",), ("a",), ("b",))
    tasks = {task.name: task for task in await store.cron.list()}
    assert {name: task.enabled for name, task in tasks.items()} == {
        "a": True, "b": False, "c": True, "mine": True,
    }  # fmt: skip
    assert old is not None
    assert tasks["a"].id == old.id
    assert (tasks["a"].expression, tasks["a"].action) == ("@hourly", {"n": 1})
    assert tasks["a"].next_run_at == START + HOUR
    assert tasks["b"].next_run_at is None
    assert tasks["mine"] == mine


async def test_a_second_sync_of_the_same_changes_nothing(store: Store) -> None:
    given = [NewCronTask("a", "@daily", {"n": 1}), NewCronTask("b", "@daily", enabled=False)]
    await store.cron.sync(given)
    before = list(await store.cron.list())

    assert await store.cron.sync(given) == CronSync((), (), ())
    assert list(await store.cron.list()) == before


async def test_of_many_that_sync_at_once_none_is_refused(
    store: Store, open_store: OpenStore
) -> None:
    given = [NewCronTask(f"task {number}", "@daily") for number in range(20)]
    stores = [store, *[await open_store() for _ in range(5)]]

    for round_ in range(5):
        app = f"app {round_}"
        done = await asyncio.gather(*(one.cron.sync(given, app=app) for one in stores))

        # Each was added by one of them, and all want the same.
        assert sorted(name for one in done for name in one.added) == sorted(
            task.name for task in given
        )
        assert [(one.updated, one.disabled) for one in done] == [((), ())] * len(stores)


async def test_what_a_person_paused_stays_paused_through_sync(store: Store) -> None:
    given = [NewCronTask("a", "@daily"), NewCronTask("b", "@daily")]
    await store.cron.sync(given)
    task = await store.cron.find("a")
    assert task is not None
    await store.cron.pause(task.id, by="ada")

    for tasks in (given, [NewCronTask("a", "@hourly")], [], given):
        await store.cron.sync(tasks)
        kept = await store.cron.get(task.id)
        assert (kept.enabled, kept.paused_by, kept.next_run_at) == (False, "ada", None)

    # Nobody has said that this one is paused.
    other = await store.cron.find("b")
    assert other is not None
    await store.cron.update(other.id, enabled=False)
    assert await store.cron.sync(given) == CronSync((), ("b",), ())
    await store.cron.sync([])
    await store.cron.sync(given)
    # What only left the configuration comes back with it.
    back = await store.cron.find("b")
    assert back is not None
    assert back.enabled
    resumed = await store.cron.resume(task.id)
    assert resumed.enabled


async def test_sync_touches_neither_other_apps_nor_what_a_call_made(store: Store) -> None:
    await store.cron.sync([NewCronTask("a", "@daily")], app="bank")
    await store.cron.create("mine", "@daily", app="shop")

    with pytest.raises(ConflictError, match="mine"):
        await store.cron.sync(
            [NewCronTask("b", "@daily"), NewCronTask("mine", "@daily")], app="shop"
        )
    with pytest.raises(InvalidError, match="two tasks are named 'a'"):
        await store.cron.sync([NewCronTask("a", "@daily")] * 2, app="shop")
    await store.cron.sync([], app="shop")

    assert [task.name for task in await store.cron.list("shop")] == ["mine"]
    assert [task.enabled for task in await store.cron.list("bank")] == [True]
    with pytest.raises(InvalidError, match="NewCronTask"):
        await store.cron.sync(["a"])  # type: ignore[list-item]
    with pytest.raises(InvalidError, match="list of NewCronTask"):
        await store.cron.sync("a")  # type: ignore[arg-type]


# -- runs ----------------------------------------------------------------------------------------


async def test_a_trigger_uses_no_slot(store: Store, clock: FixedClock) -> None:
    task = await store.cron.create("digest", "@hourly")
    await store.cron.pause(task.id, by="ada")
    paused = await store.cron.get(task.id)
    clock.set(START + timedelta(minutes=10))

    run = await store.cron.trigger(task.id)

    assert (run.trigger, run.status, run.task_id) == ("manual", "queued", task.id)
    assert run.scheduled_at == START + timedelta(minutes=10)
    assert (run.started_at, run.finished_at, run.session) == (None, None, None)
    assert await store.cron.get_run(run.id) == run
    assert await store.cron.get(task.id) == paused


async def test_runs_are_listed_the_latest_first(store: Store, clock: FixedClock) -> None:
    one = await store.cron.create("one", "@hourly", app="shop")
    two = await store.cron.create("two", "@hourly", app="bank")
    made = []
    for task in (one, two, one, one):
        made.append(await store.cron.trigger(task.id))
        clock.advance(HOUR)

    first = await store.cron.runs(one.id, limit=2)
    rest = await store.cron.runs(one.id, limit=2, cursor=first.next_cursor)

    assert [run.id for run in first] == [made[3].id, made[2].id]
    assert ([run.id for run in rest], rest.next_cursor) == ([made[0].id], None)
    assert [run.id for run in await store.cron.runs(app="bank")] == [made[1].id]
    everything = await store.cron.runs(app=ALL)
    assert [run.id for run in everything] == [run.id for run in reversed(made)]
    assert list(await store.cron.runs(app=ALL, status="failed")) == []
    assert len(await store.cron.runs(app=ALL, status="queued")) == 4
    with pytest.raises(InvalidError, match="status"):
        await store.cron.runs(status="done")  # type: ignore[arg-type]


async def test_a_run_is_linked_to_a_session_until_that_is_gone(store: Store) -> None:
    task = await store.cron.create("digest", "@hourly", app="shop")
    run = await store.cron.trigger(task.id)
    key = (await store.sessions.create("support", "ada")).key

    linked = await store.cron.link(run.id, key, run_id="agent-run-1")
    again = await store.cron.link(run.id, key)

    assert (linked.session, linked.run_id) == (key, "agent-run-1")
    assert again == linked == await store.cron.get_run(run.id)
    assert [found.session for found in await store.cron.runs(task.id)] == [key]
    with pytest.raises(NotFoundError):
        await store.cron.link(run.id, key._replace(id="nobody"))
    with pytest.raises(NotFoundError):
        await store.cron.link(run.id + "x", key)
    await store.sessions.delete(key)
    assert (await store.cron.get_run(run.id)).session is None


async def test_an_erased_person_is_in_no_run_any_more(store: Store, dump: Any) -> None:
    task = await store.cron.create("digest", "@hourly")
    run = await store.cron.trigger(task.id)
    key = (await store.sessions.create("support", "ada lovelace")).key
    await store.cron.link(run.id, key)

    await store.erase_user("support", "ada lovelace")

    assert (await store.cron.get_run(run.id)).session is None
    assert "lovelace" not in str((await dump())["cron_runs"])


async def test_the_next_slots_can_be_looked_at_before_anything_is_stored(store: Store) -> None:
    slots = await store.cron.upcoming("30 7 * * MON-FRI", "Europe/Berlin", 3)
    later = await store.cron.upcoming("@hourly", n=2, after=START + timedelta(days=1))

    assert slots == [datetime(2026, 1, day, 6, 30, tzinfo=UTC) for day in (1, 2, 5)]
    assert later == [START + timedelta(days=1, hours=n) for n in (1, 2)]
    with pytest.raises(InvalidError, match="timezone"):
        await store.cron.upcoming("@hourly", "Mars/Olympus")
    with pytest.raises(InvalidError, match="limit"):
        await store.cron.upcoming("@hourly", n=0)


async def test_a_turn_makes_a_task_and_a_run_with_what_else_it_writes(store: Store) -> None:
    task = await store.cron.create("digest", "@hourly")

    async with store.turn() as turn:
        session = turn.sessions.create("support", "ada")
        run = turn.cron.trigger(task.id)
        new = turn.cron.create("other", "@daily")

    assert session.value.key.user == "ada"
    assert await store.cron.get_run(run.value.id) == run.value
    assert await store.cron.get(new.value.id) == new.value


async def test_on_write_sees_the_action(open_store: OpenStore) -> None:
    def redact(record: Any) -> Any:
        if isinstance(record, NewCronTask):
            return NewCronTask(record.name, record.expression, {"seen": record.action})
        return record

    store = await open_store(on_write=redact)
    task = await store.cron.create("digest", "@hourly", 1)
    changed = await store.cron.update(task.id, action=2)

    assert task.action == {"seen": 1}
    assert changed.action == {"seen": 2}


async def test_subscribers_hear_of_tasks_and_runs(store: Store) -> None:
    async with store.subscribe(
        ["cron.task_changed", "cron.task_deleted", "cron.run_changed"]
    ) as facts:
        task = await store.cron.create("digest", "@hourly", app="shop")
        run = await store.cron.trigger(task.id)
        await store.cron.delete(task.id)
        heard = [await facts.get(5) for _ in range(3)]

    assert [(fact.kind, fact.app, fact.value) for fact in heard if fact] == [
        ("cron.task_changed", "shop", task),
        ("cron.run_changed", "shop", run),
        ("cron.task_deleted", "", task.id),
    ]
