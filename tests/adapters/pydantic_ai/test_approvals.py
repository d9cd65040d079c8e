"""A run pauses in one process, is answered in another, and goes on in a third."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import DeferredToolRequests, ToolApproved, ToolDenied

import perdure
from perdure.adapters.pydantic_ai import PerdureConversationStore
from perdure.adapters.pydantic_ai.approvals import (
    ask,
    ask_sync,
    paused_conversation,
    resume,
    resume_sync,
)
from tests.adapters.pydantic_ai.paying import agent_of
from tests.engines.processes import in_a_process, meet, ran, side_by_side

CONVERSATION = "order-7"
BOSS = perdure.Principal("boss", ["approver"])


async def paused(**calls: Any) -> tuple[Any, list[str], Any]:
    """An agent, what it has paid, and the result of a run that waits."""
    agent, paid = agent_of(**calls)
    result = await agent.run("Pay.", conversation=Conversation(conversation_id=CONVERSATION))
    return agent, paid, result


async def go_on(agent: Any, conversation: Any, results: Any) -> Any:
    return await agent.run(conversation=conversation, deferred_tool_results=results)


_PAUSE = """
import asyncio, sys
from pydantic_ai.conversation import Conversation
from perdure.adapters.pydantic_ai import PerdureConversationStore
from perdure.adapters.pydantic_ai.approvals import ask
from tests.adapters.pydantic_ai.paying import agent_of

async def main(url):
    agent, paid = agent_of(c1=12, c2=99)
    async with PerdureConversationStore(url) as store:
        result = await agent.run("Pay.", conversation=Conversation(conversation_id="order-7"))
        await store.save(result)
        for asked in (await ask(store.store, result), await ask(store.store, result)):
            print([one.tool_call_id for one in asked], paid)

asyncio.run(main(sys.argv[1]))
"""
_ANSWER = """
import sys, perdure

boss = perdure.Principal("boss", ["approver"])
with perdure.open_sync(sys.argv[1]) as store:
    for one in store.approvals.list(app="pydantic-ai", status="pending").items:
        print(one.tool_name, one.args, one.session.id)
        if one.args["amount"] > 50:
            store.approvals.reject(one.id, by=boss, feedback="Too much.")
        else:
            store.approvals.approve(one.id, by=boss, edited_args={"amount": 11})
"""
_RESUME = """
import asyncio, sys
from perdure.adapters.pydantic_ai import PerdureConversationStore
from perdure.adapters.pydantic_ai.approvals import resume
from tests.adapters.pydantic_ai.paying import agent_of

async def main(url):
    agent, paid = agent_of(c1=12, c2=99)
    async with PerdureConversationStore(url) as store:
        conversation = await store.load("order-7")
        results = await resume(store.store, conversation)
        result = await agent.run(conversation=conversation, deferred_tool_results=results)
        await store.save(result)
        print(result.output, paid)

asyncio.run(main(sys.argv[1]))
"""


def test_paused_in_one_process_answered_in_another_and_resumed_in_a_third(shared_url: str) -> None:
    assert ran(_PAUSE, shared_url) == ["['c1', 'c2'] []"] * 2
    assert ran(_ANSWER, shared_url) == [
        "pay {'amount': 99} order-7",
        "pay {'amount': 12} order-7",
    ]
    [told] = ran(_RESUME, shared_url)
    assert told == "paid 11; Too much. ['11']"


@pytest.mark.parametrize("by_id", [False, True])
def test_a_model_may_give_its_calls_the_same_ids_again(url: str, by_id: bool) -> None:
    def model(messages: list[ModelMessage], _: Any) -> ModelResponse:
        asked = isinstance(messages[-1].parts[-1], UserPromptPart)
        pay = ToolCallPart("pay", {"amount": 12}, "call-1")
        return ModelResponse(parts=[pay if asked else TextPart("done")])

    paid: list[int] = []
    agent = Agent(FunctionModel(model), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def pay(amount: int) -> str:
        paid.append(amount)
        return "paid"

    async def run() -> None:
        async with PerdureConversationStore(url) as store:
            for count in (1, 2, 3):
                conversation = await store.load("c") or Conversation(conversation_id="c")
                waiting = await agent.run("Pay.", conversation=conversation)
                await store.save(waiting)
                [asked] = await ask(store.store, waiting)
                assert [one.id for one in await ask(store.store, waiting)] == [asked.id]
                with pytest.raises(perdure.ApprovalPendingError):
                    await resume(store.store, "c")
                await store.store.approvals.approve(asked.id, by=BOSS)
                loaded = await store.load("c")
                results = await resume(store.store, "c" if by_id else loaded)
                assert list(results.approvals) == ["call-1"]
                await store.save(await go_on(agent, loaded, results))
                assert paid == [12] * count

    asyncio.run(run())


def test_what_nobody_has_answered_is_named(url: str) -> None:
    async def run() -> None:
        async with perdure.open(url) as store:
            _, _, result = await paused(c1=12, c2=99)
            first, second = await ask(store, result)
            await store.approvals.approve(first.id, by=BOSS)
            with pytest.raises(perdure.ApprovalPendingError, match=second.id) as caught:
                await resume(store, CONVERSATION)
            assert caught.value.approval_id == second.id
            # Nothing was used up by that.
            await store.approvals.approve(second.id, by=BOSS)
            results = await resume(store, CONVERSATION)
            assert results.approvals == {"c1": ToolApproved(), "c2": ToolApproved()}

    asyncio.run(run())


def test_an_answer_is_used_once(url: str) -> None:
    async def run() -> None:
        async with perdure.open(url) as store:
            agent, paid, result = await paused(c1=12)
            [asked] = await ask(store, result)
            await store.approvals.approve(asked.id, by=BOSS)
            done = await go_on(agent, result.conversation, await resume(store, CONVERSATION))
            assert (done.output, paid) == ("paid 12", ["12"])
            with pytest.raises(perdure.ApprovalUsedError, match=asked.id):
                await resume(store, CONVERSATION)
            again = await resume(store, CONVERSATION, used="deny")
            assert isinstance(again.approvals["c1"], ToolDenied)
            await go_on(agent, result.conversation, again)
            assert paid == ["12"]

    asyncio.run(run())


def test_of_eight_who_resume_one_pays(url: str) -> None:
    async def run() -> None:
        async with perdure.open(url) as store:
            agent, paid, result = await paused(c1=12)
            [asked] = await ask(store, result)
            await store.approvals.approve(asked.id, by=BOSS)
            answers = await asyncio.gather(
                *(resume(store, CONVERSATION) for _ in range(8)), return_exceptions=True
            )
            [one] = [one for one in answers if not isinstance(one, perdure.ApprovalUsedError)]
            await go_on(agent, result.conversation, one)
            assert paid == ["12"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "message"),
    [("reject", "No."), ("cancel", "The question was taken back."), ("", "in time")],
)
def test_all_but_a_yes_is_a_denial(answer: str, message: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    async def run() -> None:
        nonlocal now
        async with perdure.open("memory:", clock=lambda: now) as store:
            agent, paid, result = await paused(c1=12)
            [asked] = await ask(store, result, ttl=timedelta(hours=1))
            if answer:
                who = "boss" if answer == "cancel" else BOSS
                await getattr(store.approvals, answer)(asked.id, by=who, feedback="No.")
            else:
                await store.approvals.approve(asked.id, by=BOSS)
                now += timedelta(hours=2)
            results = await resume(store, CONVERSATION)
            denied = results.approvals["c1"]
            assert isinstance(denied, ToolDenied)
            assert message in denied.message
            done = await go_on(agent, result.conversation, results)
            assert paid == []
            assert message in done.output

    asyncio.run(run())


def test_a_call_that_is_done_elsewhere_gets_its_result() -> None:
    async def run() -> None:
        async with perdure.open("memory:") as store:
            agent, _, result = await paused(e1="Where?", e2="When?", e3="Why?")
            asked = await ask(store, result)
            assert [one.kind for one in asked] == ["external"] * 3
            await store.approvals.approve(asked[0].id, by=BOSS, edited_args={"place": "London"})
            await store.approvals.approve(asked[1].id, by=BOSS, feedback="Today.")
            await store.approvals.reject(asked[2].id, by=BOSS, feedback="Nobody knows.")
            results = await resume(store, CONVERSATION)
            assert results.calls == {
                "e1": {"place": "London"},
                "e2": "Today.",
                "e3": ToolFailed("Nobody knows."),
            }
            done = await go_on(agent, result.conversation, results)
            assert done.output == '{"place":"London"}; Today.; Nobody knows.'

    asyncio.run(run())


def test_without_a_conversation_store_the_conversation_waits_with_the_question(url: str) -> None:
    async def run() -> None:
        async with perdure.open(url) as store:
            agent, paid, result = await paused(c1=12, c2=99)
            first, second = await ask(store, result, app="shop", user="ada")
            assert (first.thread_id, first.session, second.resume) == (CONVERSATION, None, None)
            assert await paused_conversation(store, "another", app="shop", user="ada") is None
            kept = await paused_conversation(store, CONVERSATION, app="shop", user="ada")
            assert kept == result.conversation
            for one in (first, second):
                await store.approvals.approve(one.id, by="ada")
            results = await resume(store, kept, app="shop", user="ada")
            assert results.answered_by == {"c1": "ada", "c2": "ada"}
            await go_on(agent, kept, results)
            assert sorted(paid) == ["12", "99"]

    asyncio.run(run())


def test_the_agent_may_not_answer_itself() -> None:
    async def run() -> None:
        async with perdure.open("memory:") as store:
            _, _, result = await paused(c1=12)
            [asked] = await ask(store, result, agent="payer")
            with pytest.raises(perdure.DeniedError):
                await store.approvals.approve(asked.id, by="payer")

    asyncio.run(run())


def test_what_was_never_asked_is_not_answered() -> None:
    async def run() -> None:
        async with perdure.open("memory:") as store:
            _, _, result = await paused(c1=12)
            for conversation in (result.conversation, CONVERSATION):
                with pytest.raises(perdure.ConflictError):
                    await resume(store, conversation)

    asyncio.run(run())


def test_a_second_pause_is_answered_by_itself() -> None:
    async def run() -> None:
        async with PerdureConversationStore("memory:") as store:
            agent, paid, result = await paused(c1=12)
            await store.save(result)
            [asked] = await ask(store.store, result)
            await store.store.approvals.approve(asked.id, by=BOSS)
            done = await go_on(agent, result.conversation, await resume(store.store, CONVERSATION))
            await store.save(done)
            later, paid = agent_of(c8=7)
            second = await later.run("And more.", conversation=done.conversation)
            await store.save(second)
            [asked] = await ask(store.store, second)
            with pytest.raises(perdure.ApprovalPendingError):
                await resume(store.store, CONVERSATION)
            await store.store.approvals.approve(asked.id, by=BOSS)
            results = await resume(store.store, CONVERSATION)
            assert list(results.approvals) == ["c8"]
            await go_on(later, second.conversation, results)
            assert paid == ["7"]

    asyncio.run(run())


@pytest.mark.parametrize("edited", ["11", [11], 11, False])
def test_an_edit_that_is_no_arguments_does_not_run_the_model_s(edited: Any) -> None:
    async def run() -> None:
        async with perdure.open("memory:") as store:
            agent, paid, result = await paused(c1=12)
            [asked] = await ask(store, result)
            await store.approvals.approve(asked.id, by=BOSS, edited_args=edited)
            results = await resume(store, result.conversation)
            denied = results.approvals["c1"]
            assert isinstance(denied, ToolDenied)
            assert "no JSON object" in denied.message
            await go_on(agent, result.conversation, results)
            assert paid == []

    asyncio.run(run())


@pytest.mark.parametrize("sync", [False, True])
def test_a_yes_to_other_arguments_of_that_id_is_no_answer(url: str, sync: bool) -> None:
    async def run() -> None:
        async with perdure.open(url) as store:
            _, _, first = await paused(c1=12)
            [asked] = await ask(store, first)
            await store.approvals.approve(asked.id, by=BOSS)
            _, _, second = await paused(c1=99)
            given = store, second.conversation
            going = asyncio.to_thread(resume_sync, *given) if sync else resume(*given)
            with pytest.raises(perdure.ConflictError, match="nobody was asked"):
                await going
            assert (await store.approvals.get(asked.id)).status == "approved"

    asyncio.run(run())


@pytest.mark.parametrize("saved", [True, False])
def test_a_yes_to_other_arguments_is_no_answer_by_id_alone(url: str, saved: bool) -> None:
    async def run() -> None:
        async with PerdureConversationStore(url) as store:
            _, _, first = await paused(c1=12)
            [asked] = await ask(store.store, first)
            await store.store.approvals.approve(asked.id, by=BOSS)
            _, _, second = await paused(c1=99)
            if saved:
                await store.save(second)
                with pytest.raises(perdure.ConflictError, match="nobody was asked"):
                    await resume(store.store, CONVERSATION)
                assert (await store.store.approvals.get(asked.id)).status == "approved"
            else:
                # What is kept here is the first run: its yes is to that.
                results = await resume(store.store, CONVERSATION)
                assert results.approvals == {"c1": ToolApproved()}

    asyncio.run(run())


def test_of_a_conversation_kept_elsewhere_the_id_is_not_enough() -> None:
    async def run() -> None:
        async with PerdureConversationStore("memory:") as theirs, perdure.open("memory:") as store:
            agent, paid, result = await paused(c1=12)
            await theirs.save(result)
            [asked] = await ask(store, result)
            await store.approvals.approve(asked.id, by=BOSS)
            with pytest.raises(perdure.ConflictError, match="kept elsewhere"):
                await resume(store, CONVERSATION)
            await go_on(agent, result.conversation, await resume(store, result.conversation))
            assert paid == ["12"]

    asyncio.run(run())


# -- asked twice at once ---------------------------------------------------------------------


async def asked_twice(store: PerdureConversationStore) -> tuple[Any, Any, Any, Any]:
    """What two have asked, one before the first save and one who had looked before that."""
    agent, paid, result = await paused(c1=12)
    [first] = await ask(store.store, result)
    await store.save(result)
    again = {"tool_name": first.tool_name, "args": first.args, "tool_call_id": "c1"}
    second = await store.store.approvals.request(
        **again, session=store.session_key(CONVERSATION), run_id=first.run_id
    )
    assert second.id != first.id
    return (agent, paid, result), first, second, store.store.approvals


@pytest.mark.parametrize("answered", ["", "first", "second"])
def test_a_call_that_was_asked_about_twice_has_one_approval(url: str, answered: str) -> None:
    async def run() -> None:
        async with PerdureConversationStore(url) as store:
            (agent, paid, result), *both, approvals = await asked_twice(store)
            kept, spare = both if answered != "second" else both[::-1]
            if answered:
                await approvals.approve(kept.id, by=BOSS)
            assert [one.id for one in await ask(store.store, result)] == [kept.id]
            assert (await approvals.get(spare.id)).status == "cancelled"
            with pytest.raises(perdure.ConflictError):
                await approvals.approve(spare.id, by=BOSS)

            if not answered:
                await approvals.approve(kept.id, by=BOSS)
            await go_on(agent, result.conversation, await resume(store.store, CONVERSATION))
            assert paid == ["12"]

    asyncio.run(run())


def test_a_call_that_was_asked_about_twice_runs_once_with_one_answer(url: str) -> None:
    async def run() -> None:
        async with PerdureConversationStore(url) as store:
            (agent, paid, result), first, second, approvals = await asked_twice(store)
            await approvals.approve(second.id, by=BOSS)
            results = await resume(store.store, result.conversation)
            assert (await approvals.get(first.id)).status == "cancelled"
            await go_on(agent, result.conversation, results)
            with pytest.raises(perdure.ApprovalUsedError):
                await resume(store.store, result.conversation)
            assert paid == ["12"]

    asyncio.run(run())


@pytest.mark.parametrize("other", ["approve", "reject"])
def test_a_call_that_was_asked_about_twice_runs_only_if_both_answers_are_yes(
    url: str, other: str
) -> None:
    async def run() -> None:
        async with PerdureConversationStore(url) as store:
            (agent, paid, result), first, second, approvals = await asked_twice(store)
            await approvals.approve(first.id, by=BOSS)
            await getattr(approvals, other)(second.id, by=BOSS)
            results = await resume(store.store, result.conversation)
            await go_on(agent, result.conversation, results)
            assert paid == (["12"] if other == "approve" else [])
            with pytest.raises(perdure.ApprovalUsedError):
                await resume(store.store, result.conversation)

    asyncio.run(run())


def ask_around_a_save(url: str, saves: bool) -> None:
    async def main() -> None:
        async with PerdureConversationStore(url) as store:
            for n in range(20):
                agent, _ = agent_of(c1=n)
                conversation = Conversation(conversation_id=f"order-{n}")
                result = await agent.run("Pay.", conversation=conversation)
                meet()
                if saves:
                    await store.save(result)
                await ask(store.store, result)

    asyncio.run(main())


def test_two_processes_that_ask_around_a_save_have_asked_once(shared_url: str) -> None:
    side_by_side(ask_around_a_save, [(shared_url, False), (shared_url, True)])

    with perdure.open_sync(shared_url) as store:
        waiting = list(store.approvals.iter(app="pydantic-ai", status="pending"))
    assert sorted(one.args["amount"] for one in waiting) == list(range(20))


def test_arguments_that_are_hidden_from_the_store_still_run() -> None:
    def hide(record: Any) -> Any:
        if isinstance(record, perdure.NewApproval):
            return replace(record, args={"amount": "hidden"})
        return record

    async def run() -> None:
        async with perdure.open("memory:", on_write=hide) as store:
            agent, paid, result = await paused(c1=12)
            [asked] = await ask(store, result)
            assert asked.args == {"amount": "hidden"}
            await store.approvals.approve(asked.id, by=BOSS)
            results = await resume(store, result.conversation)
            await go_on(agent, result.conversation, results)
            assert paid == ["12"]

    asyncio.run(run())


def test_asked_again_once_the_conversation_is_saved_it_is_the_same_question(url: str) -> None:
    async def run() -> None:
        async with PerdureConversationStore(url) as store:
            agent, paid, result = await paused(c1=12)
            [asked] = await ask(store.store, result)
            await store.save(result)
            [again] = await ask(store.store, result)
            assert again.id == asked.id
            assert [one.id for one in await asyncio.to_thread(ask_sync, store.store, result)] == [
                asked.id
            ]
            await store.store.approvals.approve(asked.id, by=BOSS)
            conversation = await store.load(CONVERSATION)
            results = await resume(store.store, conversation)
            await go_on(agent, conversation, results)
            # What was used once is not asked anew.
            [used] = await ask(store.store, result)
            assert (used.id, used.status, paid) == (asked.id, "consumed", ["12"])

    asyncio.run(run())


def test_both_functions_are_there_without_await(url: str) -> None:
    with perdure.open_sync(url) as store:
        agent, paid = agent_of(c1=12)
        result = agent.run_sync("Pay.", conversation=Conversation(conversation_id=CONVERSATION))
        [asked] = ask_sync(store, result)
        assert json.dumps(asked.args) == '{"amount": 12}'
        store.approvals.approve(asked.id, by=BOSS)
        results = resume_sync(store, CONVERSATION)
        done = agent.run_sync(conversation=result.conversation, deferred_tool_results=results)
        assert (done.output, paid) == ("paid 12", ["12"])


# -- two who resume --------------------------------------------------------------------------


def pause(url: str) -> None:
    async def main() -> None:
        async with PerdureConversationStore(url) as store:
            _, _, result = await paused(c1=12, c2=99)
            await store.save(result)
            for one in await ask(store.store, result):
                await store.store.approvals.approve(one.id, by=BOSS)

    asyncio.run(main())


def race(url: str, whole: bool) -> list[str]:
    async def main() -> list[str]:
        agent, paid = agent_of(c1=12, c2=99)
        results = None
        async with PerdureConversationStore(url) as store:
            conversation = await store.load(CONVERSATION)
            meet()
            with suppress(perdure.ApprovalUsedError):
                results = await resume(store.store, conversation if whole else CONVERSATION)
            meet()
            if results is not None:
                await go_on(agent, conversation, results)
        return paid

    return asyncio.run(main())


@pytest.mark.parametrize("whole", [True, False])
def test_of_two_processes_that_resume_one_goes_on_and_the_other_is_told_so(
    shared_url: str, whole: bool
) -> None:
    in_a_process(pause, shared_url)

    paid = side_by_side(race, [(shared_url, whole)] * 2)

    assert sorted(map(len, paid)) == [0, 2]
