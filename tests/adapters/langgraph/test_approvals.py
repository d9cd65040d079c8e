"""Graphs that wait for a person, and go on with the answers from the approvals' inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict, cast

import pytest

pytest.importorskip("langgraph.graph", reason="needs langgraph: see .ci/adapters")

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Interrupt, interrupt

import perdure
from perdure import ApprovalPendingError, ApprovalUsedError, InvalidError, NewApproval, Opaque
from perdure.adapters.langgraph import PerdureSaver
from perdure.adapters.langgraph import approvals as bridge
from tests.adapters.langgraph.making import config
from tests.engines.processes import in_a_process, meet, side_by_side

pytestmark = pytest.mark.filterwarnings("default")
CODEC = bridge.CODEC
# Who may answer: on whose behalf it is asked.
ask = partial(bridge.ask, user="ada")
aask = partial(bridge.aask, user="ada")
resume = partial(bridge.resume, user="ada")
aresume = partial(bridge.aresume, user="ada")


class State(TypedDict, total=False):
    ship: Any
    send: Any
    tools: Any


def mail_and_remove(_: State) -> State:
    asked = {
        "action_requests": [
            {"name": "send_mail", "args": {"to": "bob"}, "description": "Send it?"},
            {"name": "remove", "args": {"path": "/tmp/x"}, "description": ""},
        ],
        "review_configs": [
            {"action_name": "send_mail", "allowed_decisions": ["approve", "edit", "reject"]},
            {"action_name": "remove", "allowed_decisions": ["approve", "reject"]},
        ],
    }
    return {"tools": interrupt(asked)}


def graph(saver: Any, *nodes: str) -> Any:
    """Nodes that all wait at the same time."""
    every: dict[str, Any] = {
        "ship": lambda _: {"ship": interrupt("Ship it?")},
        "send": lambda _: {"send": interrupt({"ask": "Send it?", "to": ["bob"]})},
        "tools": mail_and_remove,
    }
    builder = StateGraph(State)
    for name in nodes:
        builder.add_node(f"do_{name}", every[name])
        builder.add_edge(START, f"do_{name}")
        builder.add_edge(f"do_{name}", END)
    return builder.compile(checkpointer=saver)


@pytest.fixture
def saver(url: str) -> Iterator[PerdureSaver]:
    with PerdureSaver.from_conn_string(url) as one:
        yield one


def approvals(saver: PerdureSaver) -> Any:
    return saver._sync.approvals


def test_each_interrupt_is_an_approval_and_its_answer_lets_the_graph_go_on(
    saver: PerdureSaver,
) -> None:
    one = graph(saver, "ship", "send")
    paused = one.invoke({}, config("t"))
    ship, send = sorted(ask(saver, paused, config("t"), app="shop", user="ada"), key=_question)

    assert (ship.kind, send.kind) == ("interrupt", "interrupt")
    assert (ship.thread_id, ship.app, ship.user) == ("t", "shop", "ada")
    assert (send.question, send.payload) == ("", {"ask": "Send it?", "to": ["bob"]})
    assert (ship.question, ship.payload) == ("Ship it?", "Ship it?")
    assert isinstance(ship.resume, Opaque)
    assert ship.resume.codec == CODEC
    approvals(saver).approve(ship.id, by="ada")
    approvals(saver).reject(send.id, by="ada", feedback="Not now.")
    command = resume(saver, one.get_state(config("t")), app="shop", user="ada", by="agent")

    assert one.invoke(command, config("t")) == {"ship": True, "send": False}
    assert approvals(saver).get(ship.id).status == "consumed"


def _question(one: Any) -> str:
    return "" if one.question else str(one.payload)


def test_asking_again_gives_the_same_approvals_whatever_became_of_them(
    saver: PerdureSaver,
) -> None:
    one = graph(saver, "ship", "tools")
    paused = one.invoke({}, config("t"))
    first = ask(saver, paused, config("t"))
    approvals(saver).approve(first[0].id, by="ada")

    again = ask(saver, one.get_state(config("t")))

    assert {one.id for one in again} == {one.id for one in first}
    assert sorted(one.status for one in again) == ["approved", "pending", "pending"]
    assert len(ask(saver, paused["__interrupt__"], config("t"))) == 3
    assert len(approvals(saver).list().items) == 3


def test_tools_of_the_middleware_are_tool_approvals(saver: PerdureSaver) -> None:
    one = graph(saver, "tools")
    paused = one.invoke({}, config("t"))
    mail, remove = ask(saver, paused, config("t"))

    assert (mail.kind, mail.tool_name, mail.args) == ("tool", "send_mail", {"to": "bob"})
    assert (mail.question, remove.tool_name) == ("Send it?", "remove")
    assert mail.payload == {"allowed_decisions": ["approve", "edit", "reject"]}
    approvals(saver).approve(mail.id, by="ada", edited_args={"to": "carol"})
    approvals(saver).reject(remove.id, by="ada", feedback="Keep it.")

    done = one.invoke(resume(saver, one.get_state(config("t"))), config("t"))

    assert done["tools"]["decisions"] == [
        {"type": "edit", "edited_action": {"name": "send_mail", "args": {"to": "carol"}}},
        {"type": "reject", "message": "Keep it."},
    ]


def test_plain_yes_to_tools_and_edits_where_none_are_allowed(saver: PerdureSaver) -> None:
    one = graph(saver, "tools")
    mail, remove = ask(saver, one.invoke({}, config("t")), config("t"))
    approvals(saver).approve(mail.id, by="ada")
    approvals(saver).approve(remove.id, by="ada", edited_args={"path": "/"})

    command = resume(saver, one.get_state(config("t")))

    [answer] = command.resume.values()
    assert answer["decisions"][0] == {"type": "approve"}
    assert answer["decisions"][1]["type"] == "reject"
    assert "edited" in answer["decisions"][1]["message"]


def test_a_yes_where_only_edited_arguments_are_allowed_is_a_no(saver: PerdureSaver) -> None:
    action = {"action_requests": [{"name": "remove", "args": {"path": "/"}}]}
    configs = [{"action_name": "remove", "allowed_decisions": ["edit", "reject"]}]
    paused = {"__interrupt__": [Interrupt({**action, "review_configs": configs}, id="i")]}
    [asked] = ask(saver, paused, config("t"))
    approvals(saver).approve(asked.id, by="ada")

    [answer] = resume(saver, paused, config("t")).resume.values()

    # The middleware raises on a decision that it does not allow.
    assert [one["type"] for one in answer["decisions"]] == ["reject"]
    assert "not edited" in answer["decisions"][0]["message"]


def test_what_was_approved_runs_where_the_store_keeps_its_arguments_veiled(url: str) -> None:
    def veiled(new: Any) -> Any:
        is_mail = isinstance(new, NewApproval) and new.tool_name == "send_mail"
        return replace(new, args={"to": "***"}) if is_mail else new

    with perdure.open_sync(url, on_write=veiled) as store:
        saver = PerdureSaver(store)
        one = graph(saver, "tools")
        mail, remove = ask(saver, one.invoke({}, config("t")), config("t"))
        assert mail.args == {"to": "***"}
        for asked in (mail, remove):
            store.approvals.approve(asked.id, by="ada")

        [answer] = resume(saver, one.get_state(config("t"))).resume.values()

    assert answer["decisions"] == [{"type": "approve"}, {"type": "approve"}]


def test_while_something_is_pending_nothing_is_used_up(saver: PerdureSaver) -> None:
    one = graph(saver, "ship", "send")
    first, second = ask(saver, one.invoke({}, config("t")), config("t"))
    approvals(saver).approve(first.id, by="ada")

    with pytest.raises(ApprovalPendingError, match=second.id) as caught:
        resume(saver, one.get_state(config("t")))

    assert caught.value.approval_id == second.id
    assert approvals(saver).get(first.id).status == "approved"


def test_what_was_never_asked_is_asked_by_going_on_and_not_approved(saver: PerdureSaver) -> None:
    one = graph(saver, "ship")
    one.invoke({}, config("t"))

    with pytest.raises(ApprovalPendingError) as caught:
        resume(saver, one.get_state(config("t")))

    assert approvals(saver).get(caught.value.approval_id).status == "pending"


def test_an_answer_is_used_once(saver: PerdureSaver) -> None:
    one = graph(saver, "ship")
    [asked] = ask(saver, one.invoke({}, config("t")), config("t"))
    approvals(saver).approve(asked.id, by="ada")
    state = one.get_state(config("t"))

    first = resume(saver, state)
    with pytest.raises(ApprovalUsedError, match="goes on") as refused:
        resume(saver, state)
    second = resume(saver, state, used="deny")

    assert list(first.resume.values()) == [True]
    assert refused.value.approval_id == asked.id
    assert list(second.resume.values()) == [False]
    with pytest.raises(InvalidError, match="'deny'"):
        resume(saver, state, used=cast("Any", "no"))


def test_who_comes_second_has_used_nothing_up(saver: PerdureSaver) -> None:
    one = graph(saver, "ship", "tools")
    asked = ask(saver, one.invoke({}, config("t")), config("t"))
    for each in asked:
        approvals(saver).approve(each.id, by="ada")
    last = asked[-1]
    assert approvals(saver).consume(last.id, last.args)

    with pytest.raises(ApprovalUsedError, match=last.id):
        resume(saver, one.get_state(config("t")))

    left = [approvals(saver).get(each.id).status for each in asked]
    assert left == ["approved", "approved", "consumed"]


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_has_expired_or_was_taken_back_is_a_no(saver: PerdureSaver, end: str) -> None:
    one = graph(saver, "ship", "tools")
    ttl = timedelta(milliseconds=1) if end == "expired" else None
    for asked in ask(saver, one.invoke({}, config("t")), config("t"), ttl=ttl):
        if end == "cancelled":
            approvals(saver).cancel(asked.id)
        while approvals(saver).get(asked.id).status != end:
            pass

    done = one.invoke(resume(saver, one.get_state(config("t"))), config("t"))

    assert done["ship"] is False
    assert [one["type"] for one in done["tools"]["decisions"]] == ["reject", "reject"]
    assert all(one["message"] for one in done["tools"]["decisions"])


def test_an_answer_may_be_given_another_shape(saver: PerdureSaver) -> None:
    one = graph(saver, "ship", "send")
    ship, send = sorted(ask(saver, one.invoke({}, config("t")), config("t")), key=_question)
    approvals(saver).approve(ship.id, by="ada", feedback="Go.")
    approvals(saver).approve(send.id, by="ada", edited_args={"to": ["carol"]})

    command = resume(
        saver,
        one.get_state(config("t")),
        answer=lambda approval, yes: [yes, approval.feedback, approval.edited_args],
    )

    done = one.invoke(command, config("t"))
    assert done == {"ship": [True, "Go.", None], "send": [True, "", {"to": ["carol"]}]}


def test_edited_arguments_are_what_a_node_gets(saver: PerdureSaver) -> None:
    one = graph(saver, "send")
    [asked] = ask(saver, one.invoke({}, config("t")), config("t"))
    approvals(saver).approve(asked.id, by="ada", edited_args={"to": ["carol"]})

    done = one.invoke(resume(saver, one.get_state(config("t"))), config("t"))

    assert done == {"send": {"to": ["carol"]}}


def test_two_threads_and_two_pauses_of_one_thread_are_not_mixed_up(saver: PerdureSaver) -> None:
    def twice(_: State) -> State:
        return {"ship": interrupt("Ship it?"), "send": interrupt("Ship it?")}

    builder = StateGraph(State)
    builder.add_node("do_twice", twice)
    builder.add_edge(START, "do_twice")
    one = builder.compile(checkpointer=saver)
    [other] = ask(saver, one.invoke({}, config("other")), config("other"))
    [first] = ask(saver, one.invoke({}, config("t")), config("t"))
    approvals(saver).approve(first.id, by="ada")
    paused = one.invoke(resume(saver, one.get_state(config("t"))), config("t"))

    [second] = ask(saver, paused, config("t"))

    assert len({first.id, second.id, other.id}) == 3
    assert (second.status, other.status) == ("pending", "pending")
    approvals(saver).reject(second.id, by="ada")
    done = one.invoke(resume(saver, one.get_state(config("t"))), config("t"))
    assert done == {"ship": True, "send": False}


def test_in_an_async_graph_it_is_awaited(saver: PerdureSaver) -> None:
    async def inside() -> Any:
        one = graph(saver, "ship")
        [asked] = await aask(saver, await one.ainvoke({}, config("t")), config("t"))
        await saver._async.approvals.approve(asked.id, by="ada")
        command = await aresume(saver, await one.aget_state(config("t")))
        return await one.ainvoke(command, config("t"))

    assert asyncio.run(inside()) == {"ship": True}


def test_what_does_not_wait_asks_nothing_and_does_not_go_on(saver: PerdureSaver) -> None:
    one = graph(saver, "ship")

    assert ask(saver, one.get_state(config("t"))) == []
    assert ask(saver, {"ship": True}, config("t")) == []
    with pytest.raises(InvalidError, match="waits for nobody"):
        resume(saver, one.get_state(config("t")))
    with pytest.raises(InvalidError, match="thread"):
        ask(saver, {"ship": True})


def test_it_belongs_to_a_session_if_it_is_to(saver: PerdureSaver) -> None:
    key = saver._sync.sessions.create("shop", "ada", "order-7").key
    one = graph(saver, "ship")
    [asked] = ask(saver, one.invoke({}, config("t")), config("t"), session=key)

    assert (asked.session, asked.user, asked.thread_id) == (key, "ada", "t")
    approvals(saver).approve(asked.id, by="ada")
    command = resume(saver, one.get_state(config("t")), session=key)
    assert isinstance(command, Command)


def test_what_is_no_json_is_asked_in_words(saver: PerdureSaver) -> None:
    class Odd:
        def __str__(self) -> str:
            return "Something odd?"

    builder = StateGraph(State)
    builder.add_node("odd", lambda _: {"ship": interrupt({1, 2})})
    builder.add_edge(START, "odd")
    one = builder.compile(checkpointer=saver)

    [asked] = ask(saver, one.invoke({}, config("t")), config("t"))

    assert (asked.payload, asked.question) == (None, "{1, 2}")
    approvals(saver).approve(asked.id, by="ada")
    assert one.invoke(resume(saver, one.get_state(config("t"))), config("t")) == {"ship": True}


# -- processes -------------------------------------------------------------------------------------


def pause(url: str) -> list[str]:
    with PerdureSaver.from_conn_string(url) as saver:
        paused = graph(saver, "ship", "tools").invoke({}, config("t"))
        return [one.id for one in ask(url, paused, config("t"), user="ada")]


def answer(url: str) -> None:
    with perdure.open_sync(url) as store:
        for one in store.approvals.list(status="pending"):
            store.approvals.approve(one.id, by="ada")


def go_on(url: str) -> Any:
    with PerdureSaver.from_conn_string(url) as saver:
        one = graph(saver, "ship", "tools")
        return one.invoke(resume(url, one.get_state(config("t")), user="ada"), config("t"))


def test_one_process_asks_another_answers_and_a_third_goes_on(shared_url: str) -> None:
    asked = in_a_process(pause, shared_url)

    in_a_process(answer, shared_url)
    done = in_a_process(go_on, shared_url)
    assert done["ship"] is True
    assert done["tools"] == {"decisions": [{"type": "approve"}, {"type": "approve"}]}
    with perdure.open_sync(shared_url) as store:
        assert {store.approvals.get(name).status for name in asked} == {"consumed"}


def race(url: str) -> Any:
    with PerdureSaver.from_conn_string(url) as saver:
        one = graph(saver, "ship", "tools")
        state, command = one.get_state(config("t")), None
        meet()
        with suppress(ApprovalUsedError):
            command = resume(url, state)
        meet()
        return command and one.invoke(command, config("t"))


def test_of_two_processes_that_resume_one_goes_on_and_the_other_is_told_so(
    shared_url: str,
) -> None:
    in_a_process(pause, shared_url)
    in_a_process(answer, shared_url)

    done = side_by_side(race, [(shared_url,)] * 2)

    [went] = [one for one in done if one]
    assert went["ship"] is True
    assert went["tools"] == {"decisions": [{"type": "approve"}, {"type": "approve"}]}
