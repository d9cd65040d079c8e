"""Branches by name, as `AdvancedSQLiteSession` has them, on the lines of the store's session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import called, output, said, texts, user

pytestmark = pytest.mark.filterwarnings("default")

FIRST = [user("A mug, please."), said("Red or blue?")]
SECOND = [user("Red."), called("c1"), output("c1", "ok"), said("Done.")]
THIRD = [user("Thanks."), said("Bye.")]


@pytest.fixture
def talk(session: Any) -> Any:
    asyncio.run(session.add_items([*FIRST, *SECOND, *THIRD]))
    return session


async def test_a_branch_begins_before_the_turn_and_goes_its_own_way(talk: PerdureSession) -> None:
    name = await talk.create_branch_from_turn(2, "blue")
    assert name == "blue"
    assert await talk.get_items() == FIRST

    await talk.add_items([user("Blue.")])
    assert await talk.get_items() == [*FIRST, user("Blue.")]
    assert await talk.get_items(branch_id="main") == [*FIRST, *SECOND, *THIRD]
    assert await talk.get_items(1, "main") == THIRD[1:]
    assert await talk.get_items(limit=0, branch_id="main") == []


async def test_a_branch_may_begin_before_everything(talk: PerdureSession) -> None:
    await talk.create_branch_from_turn(1, "anew")
    assert await talk.get_items() == []

    await talk.add_items([user("A plate.")])
    assert await talk.get_items() == [user("A plate.")]


async def test_switching_goes_there_and_back_as_often_as_you_like(talk: PerdureSession) -> None:
    await talk.create_branch_from_turn(3, "other")
    await talk.switch_to_branch("main")
    await talk.switch_to_branch("main")
    await talk.add_items([user("More.")])
    await talk.switch_to_branch("other")
    await talk.add_items([user("Elsewhere.")])
    await talk.switch_to_branch("main")

    assert await talk.get_items() == [*FIRST, *SECOND, *THIRD, user("More.")]
    await talk.switch_to_branch("other")
    assert await talk.get_items() == [*FIRST, *SECOND, user("Elsewhere.")]


async def test_a_switch_counts_for_every_object_of_the_session(talk: PerdureSession) -> None:
    other = PerdureSession("order-7", talk.store, app="shop", user="ada")
    await talk.create_branch_from_turn(2, "blue")

    assert await other.get_items() == FIRST
    await other.switch_to_branch("main")
    assert len(await talk.get_items()) == 8


async def test_branches_are_listed_oldest_first_with_their_sizes(talk: PerdureSession) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.add_items([user("Blue.")])
    await talk.create_branch_from_turn(1, "anew")

    found = await talk.list_branches()

    assert [
        (one["branch_id"], one["message_count"], one["user_turns"], one["is_current"])
        for one in found
    ] == [("main", 8, 3, False), ("blue", 3, 2, False), ("anew", 0, 0, True)]
    assert all("T" in one["created_at"] for one in found)


async def test_a_session_that_is_not_there_has_no_branches(session: PerdureSession) -> None:
    assert await session.list_branches() == []
    assert await session.get_conversation_turns() == []
    assert await session.find_turns_by_content("x") == []
    assert await session.get_items(branch_id="main") == []


async def test_turns_are_numbered_on_their_branch(talk: PerdureSession) -> None:
    long = "x" * 150
    await talk.add_items([{"role": "user", "content": [{"type": "input_text", "text": long}]}])

    turns = await talk.get_conversation_turns()

    assert [turn["turn"] for turn in turns] == [1, 2, 3, 4]
    assert [turn["content"] for turn in turns[:3]] == ["A mug, please.", "Red.", "Thanks."]
    assert turns[3]["content"] == "x" * 100 + "..."
    assert turns[3]["full_content"] == [{"type": "input_text", "text": long}]
    assert {turn["can_branch"] for turn in turns} == {True}
    await talk.create_branch_from_turn(2, "blue")
    assert [turn["turn"] for turn in await talk.get_conversation_turns()] == [1]
    assert len(await talk.get_conversation_turns("main")) == 4


@pytest.mark.parametrize(
    ("term", "turns"),
    [
        ("RED", [2]),
        ("a mug", [1]),
        ("s.", [3]),
        ("100%", []),
        ("_", []),
        ("Done", []),
        ("", [1, 2, 3]),
    ],
)
async def test_turns_are_found_by_what_the_user_said_and_nothing_is_a_wildcard(
    talk: PerdureSession, term: str, turns: list[int]
) -> None:
    assert [turn["turn"] for turn in await talk.find_turns_by_content(term)] == turns


async def test_a_branch_from_content_begins_before_the_first_turn_that_has_it(
    talk: PerdureSession,
) -> None:
    assert await talk.create_branch_from_content("thanks", "polite") == "polite"
    assert await talk.get_items() == [*FIRST, *SECOND]

    with pytest.raises(ValueError, match="teapot"):
        await talk.create_branch_from_content("teapot")


async def test_names_are_made_where_none_is_given_and_differ(talk: PerdureSession) -> None:
    names = []
    for _ in range(3):
        names.append(await talk.create_branch_from_turn(2))
        await talk.switch_to_branch("main")

    assert len(set(names)) == 3
    assert all(name.startswith("branch_from_turn_2") for name in names)


@pytest.mark.parametrize("turn", [0, 4, -1, 99])
async def test_a_turn_that_is_not_there_is_refused(talk: PerdureSession, turn: int) -> None:
    with pytest.raises(ValueError, match=f"turn {turn}"):
        await talk.create_branch_from_turn(turn)

    assert len(await talk.list_branches()) == 1


@pytest.mark.parametrize("name", ["", "  ", "main", "taken"])
async def test_a_blank_or_used_name_is_refused(talk: PerdureSession, name: str) -> None:
    await talk.create_branch_from_turn(3, "taken")
    before = await talk.list_branches()

    with pytest.raises(ValueError, match="branch"):
        await talk.create_branch_from_turn(1, name)

    assert await talk.list_branches() == before


async def test_a_name_stays_used_after_its_branch_is_deleted_and_all_is_cleared(
    talk: PerdureSession,
) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.switch_to_branch("main")
    await talk.delete_branch("blue")
    with pytest.raises(ValueError, match="used"):
        await talk.create_branch_from_turn(2, "blue")

    await talk.clear_session()
    await talk.add_items(FIRST)
    with pytest.raises(ValueError, match="used"):
        await talk.create_branch_from_turn(1, "blue")


@pytest.mark.parametrize("taken", ["pruned", "cleared"])
@pytest.mark.parametrize("way", ["switch", "delete"])
async def test_a_branch_whose_items_others_have_removed_is_empty(
    talk: PerdureSession, taken: str, way: str
) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.add_items([user("Blue."), said("Done."), user("Thanks.")])
    if taken == "pruned":
        await talk.store.events.prune(talk.key, keep_last=1, branches=True)
    else:
        await talk.store.events.clear(talk.key)
    assert await talk.get_items(branch_id="main") == []

    if way == "switch":
        await talk.switch_to_branch("main")
    else:
        await talk.delete_branch("blue", force=True)

    assert await talk.get_items() == []
    await talk.add_items([user("Anew.")])
    assert await talk.get_items() == [user("Anew.")]
    if way == "switch":
        await talk.switch_to_branch("blue")
        assert await talk.get_items() == ([user("Thanks.")] if taken == "pruned" else [])
        await talk.switch_to_branch("main")
    assert await talk.get_items(branch_id="main") == [user("Anew.")]


async def test_clearing_ends_every_branch_and_begins_at_main(talk: PerdureSession) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.add_items([user("Blue.")])

    await talk.clear_session()

    assert await talk.get_items() == []
    assert [one["branch_id"] for one in await talk.list_branches()] == ["main"]
    with pytest.raises(ValueError, match="blue"):
        await talk.switch_to_branch("blue")


async def test_a_deleted_branch_takes_the_items_along_that_no_other_has(
    talk: PerdureSession,
) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.add_items([user("Blue, a secret.")])
    await talk.switch_to_branch("main")

    await talk.delete_branch("blue")

    assert await talk.get_items() == [*FIRST, *SECOND, *THIRD]
    left = await talk.store.events.read(talk.key, all_lines=True)
    assert [event.content for event in left] == [*FIRST, *SECOND, *THIRD]
    with pytest.raises(ValueError, match="blue"):
        await talk.switch_to_branch("blue")


async def test_a_deleted_branch_leaves_what_another_one_needs(talk: PerdureSession) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.add_items([user("Blue."), said("Done: blue."), user("And green.")])
    await talk.create_branch_from_turn(3, "from blue")
    await talk.switch_to_branch("main")

    await talk.delete_branch("blue")
    await talk.store.events.prune(talk.key, before_seq=1)

    assert await talk.get_items(branch_id="from blue") == [
        *FIRST,
        user("Blue."),
        said("Done: blue."),
    ]
    await talk.switch_to_branch("from blue")
    assert texts(await talk.get_items())[2] == "Blue."


async def test_the_active_branch_is_deleted_with_force_only_and_main_never(
    talk: PerdureSession,
) -> None:
    await talk.create_branch_from_turn(2, "blue")
    await talk.add_items([user("Blue.")])
    with pytest.raises(ValueError, match="active"):
        await talk.delete_branch("blue")

    await talk.delete_branch("blue", force=True)

    assert await talk.get_items() == [*FIRST, *SECOND, *THIRD]
    for name, said_of in (("main", "main"), ("", "blank"), (" ", "blank"), ("no", "no")):
        with pytest.raises(ValueError, match=said_of):
            await talk.delete_branch(name, force=True)


async def test_a_pop_takes_from_the_active_branch_alone(talk: PerdureSession) -> None:
    await talk.create_branch_from_turn(3, "other")

    assert await talk.pop_item() == SECOND[-1]

    assert await talk.get_items(branch_id="main") == [*FIRST, *SECOND, *THIRD]
    await talk.switch_to_branch("main")
    assert await talk.get_items() == [*FIRST, *SECOND, *THIRD]


async def test_of_many_who_make_a_branch_of_one_name_one_does(talk: PerdureSession) -> None:
    made = await asyncio.gather(
        *[talk.create_branch_from_turn(1, "anew") for _ in range(6)], return_exceptions=True
    )

    assert made.count("anew") == 1
    assert sum(isinstance(one, ValueError) for one in made) == 5


async def test_branches_survive_adds_of_others(talk: PerdureSession) -> None:
    adds = [talk.add_items([user(f"also {n}")]) for n in range(10)]
    await asyncio.gather(talk.create_branch_from_turn(3, "other"), *adds)

    main = await talk.get_items(branch_id="main")
    other = await talk.get_items(branch_id="other")
    assert main[:8] == [*FIRST, *SECOND, *THIRD]
    assert other[:6] == [*FIRST, *SECOND]
    assert len(main) - 8 + len(other) - 6 == 10
