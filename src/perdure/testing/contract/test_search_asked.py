"""What a search finds of approvals, clarifications and tasks: what their rows say, and no more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    ConflictError,
    NewAnswer,
    NewApproval,
    NewClarification,
    NewCronTask,
    NewResolution,
    Principal,
    RetentionConfig,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.contract.test_hooks import SECRET, cleaned
from perdure.testing.databases import Dump, OpenStore

ADA = UserScope("support", "ada")
NIGHTLY = "0 3 * * *"
WEEK = RetentionConfig(
    retention_days=None, clarifications=timedelta(days=7), approvals=timedelta(days=7)
)
HOSTILE = '"; DROP TABLE approvals; -- %s :part {wanted} \\u0000 \U0001f389 \u202e parcel'


async def found(store: Store, query: str, *kinds: str, user: Any = "ada") -> list[str]:
    hits = await store.search("support", user, query, kinds=kinds or None)
    return [hit.key for hit in hits]


async def words(dump: Dump) -> str:
    tables = await dump()
    return str([tables["search_blocks"], tables["search_vectors"]])


async def request(store: Store, question: str = "", **given: Any) -> str:
    where = {} if given.get("session") else {"app": "support", "user": "ada"}
    options = {"tool_name": "refund", **where, **given}
    return (await store.approvals.request(question=question, **options)).id


# -- approvals -------------------------------------------------------------------------------


async def test_an_approval_is_found_by_its_tool_its_question_and_what_stands_in_its_json(
    store: Store, key: SessionKey
) -> None:
    approval = await store.approvals.request(
        "refund_order", {"orders": [{"why": "late\nparcels"}], "number": 4711, "ok": True},
        session=key, question="Is that right?", payload={"note": ["in Lyon"]},
    )  # fmt: skip

    [hit] = await store.search("support", "ada", "parcel lyon")

    assert (hit.kind, hit.key, hit.session, hit.seq) == ("approvals", approval.id, key, None)
    assert (hit.app, hit.user, hit.at) == ("support", "ada", approval.created_at)
    assert [hit.snippet[low:high] for low, high in hit.marks] == ["parcels", "Lyon"]
    assert hit.score == pytest.approx(sum(hit.parts.values()))
    for query in ("refund", "right", "why", "note", "orders"):
        assert await found(store, query, "approvals") == [approval.id]
    assert await found(store, "true", "approvals") == []
    assert await found(store, "parcel", "clarifications", "events") == []
    assert len(await store.search("support", "ada", "parcel", session=key)) == 1


async def test_an_answer_to_an_approval_is_found_and_edited_arguments_take_the_place_of_others(
    store: Store, dump: Dump
) -> None:
    first = await request(store, args={"to": "zebra1"})
    other = await request(store, args={"to": "zebra2"})
    await store.approvals.approve(first, by="ada", feedback="fine", edited_args={"to": "lion1"})
    await store.approvals.reject(other, by="ada", feedback="too much, tiger2")

    assert await found(store, "zebra1") == []
    assert await found(store, "lion1") == [first] == await found(store, "fine")
    assert await found(store, "zebra2") == [other] == await found(store, "tiger2")
    assert "zebra1" not in await words(dump)


async def test_the_same_call_is_indexed_once(store: Store, key: SessionKey, dump: Dump) -> None:
    ids = {
        await request(store, "zebra", session=key, tool_call_id="call-1") for _ in range(3)
    }  # fmt: skip
    asked = {(await store.clarifications.ask(key, "zebra?")).id for _ in range(3)}

    assert len(ids) == len(asked) == 1
    assert sum(row[7] for row in (await dump())["search_blocks"]) == 2


async def test_a_closed_approval_that_is_swept_leaves_no_word(
    open_store: OpenStore, clock: FixedClock, dump: Dump
) -> None:
    store = await open_store(retention=WEEK)
    key = (await store.sessions.create("support", "ada")).key
    for number in range(60):
        place = {"session": key} if number % 2 else {}
        one = await request(store, f"zebra{number}", **place)
        await store.approvals.reject(one, by="ada", feedback=f"tiger{number}")
    kept = await request(store, "zebra lion", ttl=None)
    assert len(await store.search("support", "ada", "refund", limit=100)) == 61

    clock.advance(timedelta(days=8))
    await store.sweep()

    assert await found(store, "refund zebra") == [kept]
    left = await words(dump)
    assert "lion" in left
    assert "tiger" not in left
    assert "zebra1" not in left


# -- clarifications --------------------------------------------------------------------------


async def test_a_clarification_is_found_by_its_question_context_options_and_answer(
    store: Store, key: SessionKey
) -> None:
    asked = await store.clarifications.ask(
        key, "Which address?", context="The parcel is late", options=["Lyon", 'Paris "nord"']
    )
    alone = await store.clarifications.ask(ADA, "Which tiger?")

    [hit] = await store.search("support", "ada", "parcels")

    assert (hit.kind, hit.key, hit.session, hit.seq) == ("clarifications", asked.id, key, None)
    assert (hit.app, hit.user, hit.at) == ("support", "ada", asked.created_at)
    assert [hit.snippet[low:high] for low, high in hit.marks] == ["parcel"]
    for query in ("address", "nord", "lyon"):
        assert await found(store, query, "clarifications") == [asked.id]
    [hit] = await store.search("support", "ada", "tiger")
    assert (hit.key, hit.session) == (alone.id, None)
    assert await found(store, "marseille") == []
    await store.clarifications.answer(asked.id, "Send it to Marseille")
    assert await found(store, "marseille") == [asked.id] == await found(store, "address")
    assert await store.search("support", "ada", "tiger", session=key) == []


async def test_of_several_who_answer_the_words_of_the_one_who_did_are_found(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    for of in (key, ADA):
        asked = (await store.clarifications.ask(of, "Which one?")).id
        answers = [store.clarifications.answer(asked, f"zebra{n}", by=str(n)) for n in range(6)]
        await asyncio.gather(*answers, return_exceptions=True)

        row = await store.clarifications.get(asked)
        with pytest.raises(ConflictError):
            await store.clarifications.answer(asked, "lion", by="late")
        left = await words(dump)
        assert [f"zebra{n}" in left for n in range(6)] == [
            row.answer == f"zebra{n}" for n in range(6)
        ]
        assert "lion" not in left
        assert await found(store, str(row.answer)) == [asked]
        await store.clarifications.ask(of, "clear the way")
        await store.erase_user("support", "ada")
        await store.sessions.create("support", "ada", key.id)


async def test_an_old_clarification_that_is_swept_leaves_no_word(
    open_store: OpenStore, clock: FixedClock, dump: Dump
) -> None:
    store = await open_store(retention=WEEK)
    key = (await store.sessions.create("support", "ada")).key
    for number in range(60):
        asked = await store.clarifications.ask(key if number % 2 else ADA, f"zebra{number}")
        await store.clarifications.answer(asked.id, f"tiger{number}")
    kept = await store.clarifications.ask(key, "lion")

    clock.advance(timedelta(days=8))
    await store.sweep()

    left = await words(dump)
    assert "zebra" not in left
    assert "tiger" not in left
    assert await found(store, "lion zebra1 tiger2") == [kept.id]


# -- what belongs to a session or person -----------------------------------------------------


async def test_what_was_asked_in_a_session_is_hidden_with_it_and_goes_with_it(
    store: Store, key: SessionKey, clock: FixedClock, dump: Dump
) -> None:
    ids = {
        await request(store, "canary81", session=key, ttl=None),
        (await store.clarifications.ask(key, "canary81")).id,
    }
    assert set(await found(store, "canary81")) == ids
    await store.sessions.delete(key)
    assert await found(store, "canary81") == []
    assert await found(store, "canary81", user=ALL) == []
    await store.sessions.restore(key)
    assert set(await found(store, "canary81")) == ids

    await store.sessions.delete(key)
    clock.advance(timedelta(days=60))
    await store.sweep()

    assert "canary81" not in str(await dump())


async def test_who_is_erased_leaves_no_word_of_what_was_asked(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    for place in ({"session": key}, {}):
        one = await request(store, "canary81", **place)
        await store.approvals.approve(one, by="ada", feedback="canary82")
    for of in (key, ADA):
        asked = await store.clarifications.ask(of, "canary83")
        await store.clarifications.answer(asked.id, "canary84")
    assert len(await found(store, "canary81 canary82 canary83 canary84")) == 4

    await store.erase_user("support", "ada")

    assert "canary8" not in str(await dump())
    assert await found(store, "canary81 canary82 canary83 canary84") == []


async def test_nobody_finds_what_was_asked_of_others(store: Store, open_store: OpenStore) -> None:
    acme = await open_store(tenant="acme")
    for there, app, user in (
        (store, "support", "bob"), (store, "support", ""), (store, "sales", "ada"),
        (acme, "support", "ada"),
    ):  # fmt: skip
        await there.approvals.request("refund", app=app, user=user, question="zebra")
        await there.clarifications.ask(UserScope(app, user), "zebra")
        await there.cron.create(f"zebra {user}", NIGHTLY, app=app)
        assert len(await there.search(app, user, "zebra")) == 2

    assert await found(store, "zebra") == []
    hits = await store.search("support", ALL, "zebra")
    assert sorted((hit.kind, hit.app, hit.user) for hit in hits) == [
        ("approvals", "support", ""), ("approvals", "support", "bob"),
        ("clarifications", "support", ""), ("clarifications", "support", "bob"),
        ("tasks", "support", ""), ("tasks", "support", ""),
    ]  # fmt: skip


async def test_what_was_asked_in_a_turn_is_found_after_it(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.approvals.request("refund", session=key, question="parcel")
        asked = turn.clarifications.ask(key, "Which parcel?")
        turn.cron.create("parcels", NIGHTLY, app="support")

    assert len(await found(store, "parcel", user=ALL)) == 3
    assert asked.value.id in await found(store, "parcel")


async def test_a_search_puts_what_was_asked_one_by_one_together_and_misses_none(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    ids = [await request(store, f"parcel{n}", session=key) for n in range(70)]
    for number in range(70):
        await store.cron.create(f"parcel {number}", NIGHTLY, app="support")

    assert len(await store.search("support", "ada", "refund", limit=100)) == 70
    assert len(await store.search("support", ALL, "refund parcel", limit=200)) == 140

    assert len((await dump())["search_blocks"]) < 10
    await store.approvals.reject(ids[7], by="ada", feedback="lion")
    assert await found(store, "lion") == [ids[7]] == await found(store, "parcel7")
    assert len(await store.search("support", "ada", "refund", limit=100)) == 70


# -- tasks -----------------------------------------------------------------------------------


async def tasks(store: Store, query: str) -> list[str]:
    hits = await store.search("support", ALL, query, kinds=["tasks"])
    return [hit.key for hit in hits]


async def test_a_task_is_found_by_its_name_and_its_action_in_its_app_alone(store: Store) -> None:
    task = await store.cron.create(
        "nightly report", NIGHTLY, {"say": ["sum up the parcels"]}, app="support"
    )
    await store.cron.create("nightly report", NIGHTLY, app="sales")

    [hit] = await store.search("support", ALL, "parcels")

    assert (hit.kind, hit.key, hit.session, hit.seq) == ("tasks", task.id, None, None)
    assert (hit.app, hit.user, hit.at) == ("support", "", task.updated_at)
    assert [hit.snippet[low:high] for low, high in hit.marks] == ["parcels"]
    assert await tasks(store, "reports") == [task.id] == await tasks(store, "say")
    assert await found(store, "parcels") == []


async def test_a_task_that_was_changed_or_deleted_leaves_no_old_word(
    store: Store, dump: Dump
) -> None:
    task = await store.cron.create("nightly", NIGHTLY, {"say": "zebra1"}, app="support")
    await store.cron.update(task.id, action={"say": "zebra2"})
    await store.cron.update(task.id, expression="0 4 * * *")
    await store.cron.pause(task.id, by="ada")
    assert await tasks(store, "zebra1") == []
    assert await tasks(store, "zebra2") == [task.id] == await tasks(store, "nightly")
    assert "zebra1" not in await words(dump)

    await store.cron.delete(task.id)

    assert await tasks(store, "zebra2 nightly") == []
    assert (await dump())["search_blocks"] == []


async def test_tasks_that_are_brought_to_a_configuration_are_found_by_it(
    store: Store, dump: Dump
) -> None:
    many = [NewCronTask(f"lion{n}", NIGHTLY, {"say": f"zebra{n}"}) for n in range(150)]
    await store.cron.sync(many, app="support")
    await store.cron.sync(many, app="support")
    assert len(await tasks(store, "zebra149 zebra3")) == 2
    assert sum(row[7] for row in (await dump())["search_blocks"]) == 150

    await store.cron.sync(
        [NewCronTask("lion3", NIGHTLY, {"say": "tiger"}), NewCronTask("lionx", NIGHTLY)],
        app="support",
    )

    task = await store.cron.find("lion3", app="support")
    assert task is not None
    assert await tasks(store, "zebra3") == []
    assert await tasks(store, "tiger") == [task.id] == await tasks(store, "lion3")
    # It is switched off, and still there.
    assert len(await tasks(store, "zebra149")) == 1
    assert len(await tasks(store, "lionx")) == 1


# -- all of them -----------------------------------------------------------------------------


async def test_hostile_texts_are_words_and_no_more(store: Store, key: SessionKey) -> None:
    deep: Any = "parcel"
    for _ in range(50):
        deep = {HOSTILE: [deep, None, 1.5]}
    await request(store, HOSTILE, args=deep, session=key, payload=[[], {}, "\0", HOSTILE])
    asked = await store.clarifications.ask(key, HOSTILE, context=HOSTILE, options=[HOSTILE])
    await store.clarifications.answer(asked.id, HOSTILE)
    await store.cron.create(HOSTILE, NIGHTLY, deep, app="support")

    for query in (HOSTILE, "parcels", "\U0001f389", "drop table"):
        hits = await store.search("support", ALL, query)
        assert {hit.kind for hit in hits} == {"approvals", "clarifications", "tasks"}
        assert all(hit.marks and len(hit.snippet) <= 240 for hit in hits)


async def test_of_a_long_text_the_beginning_is_found(store: Store, key: SessionKey) -> None:
    args = {"begin": "zebra", "long": ["word " * 30_000, "lion"]}
    one = await request(store, args=args, session=key)

    assert await found(store, "zebra") == [one]
    assert await found(store, "lion") == []


def redacting(record: Any) -> Any:
    if isinstance(record, NewApproval):
        names: tuple[str, ...] = ("args", "payload", "question")
    elif isinstance(record, NewResolution):
        names = ("feedback", "edited_args")
    elif isinstance(record, NewClarification):
        names = ("question", "context", "options")
    elif isinstance(record, NewAnswer):
        names = ("answer",)
    else:
        names = ("action",)
    changed = {name: cleaned(getattr(record, name)) for name in names}
    return replace(record, **changed)


async def test_what_on_write_took_out_is_not_in_the_index(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await open_store(on_write=redacting)
    said = f"parcel {SECRET}"
    one = await request(store, said, args={"a": said}, payload={"b": said})
    other = await request(store, said, args={"a": said})
    await store.approvals.approve(one, by="ada", feedback=said, edited_args={"a": said})
    asked = await store.clarifications.ask(ADA, said, context=said, options=[said])
    await store.clarifications.answer(asked.id, said)
    task = await store.cron.create("t", NIGHTLY, {"say": said}, app="support")
    await store.cron.update(task.id, action={"say": f"{said} again"})

    assert SECRET not in str(await dump())
    assert SECRET[3:] not in await words(dump)
    assert set(await found(store, "parcel", user=ALL)) == {one, other, asked.id, task.id}


async def test_a_vector_goes_with_what_was_asked_or_changed(
    open_store: OpenStore, dump: Dump
) -> None:
    def embedder(texts: list[str]) -> list[list[float]]:
        return [[float("parcel" in text or "package" in text), 0.01] for text in texts]

    store = await open_store(embedder=embedder)
    key = (await store.sessions.create("support", "ada")).key
    one = await request(store, "a package", session=key)
    asked = await store.clarifications.ask(ADA, "Which package?")

    async def near() -> set[str]:
        hits = await store.search("support", "ada", "parcel")
        return {hit.key for hit in hits if hit.parts["meaning"] > 0.9 * 0.5}

    assert await near() == {one, asked.id}
    await store.approvals.reject(one, by=Principal("ada"), feedback="no package")
    await store.clarifications.answer(asked.id, "the red one")
    assert (await dump())["search_vectors"] == []
    assert await near() == {one, asked.id}
    assert len((await dump())["search_vectors"]) == 2
    await store.erase_user("support", "ada")
    assert (await dump())["search_vectors"] == []
