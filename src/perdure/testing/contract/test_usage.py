"""`usage`: the tokens that events say they took, summed in groups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import InvalidError, NewEvent, NotFoundError, SessionKey, Store, Usage
from perdure.features.token_usage import Tokens, model_of, tokens_of
from perdure.testing.databases import NewKey, OpenStore

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (
            {
                "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 64},
            },
            Tokens(100, 20, 120, 64),
        ),
        (
            {
                "input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
                "input_tokens_details": {"cached_tokens": 8},
                "output_tokens_details": {"reasoning_tokens": 5},
            },
            Tokens(100, 20, 120, 8),
        ),
        (
            {
                "input_tokens": 10, "output_tokens": 20,
                "cache_creation_input_tokens": 30, "cache_read_input_tokens": 40,
            },
            Tokens(80, 20, 100, 40),
        ),
        (
            {
                "prompt_token_count": 100, "candidates_token_count": 20, "total_token_count": 135,
                "thoughts_token_count": 10, "tool_use_prompt_token_count": 5,
                "cached_content_token_count": 7,
            },
            Tokens(105, 30, 135, 7),
        ),
        (
            {
                "promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120,
                "cachedContentTokenCount": 7,
            },
            Tokens(100, 20, 120, 7),
        ),
        (
            {"input_tokens": 9, "output_tokens": 1, "input_token_details": {"cache_read": 3}},
            Tokens(9, 1, 10, 3),
        ),
        ({"input_tokens": 9}, Tokens(9, 0, 9, 0)),
        ({"output_tokens": 2.0, "input_tokens": None}, Tokens(0, 2, 2, 0)),
        ({"input_tokens": "9", "output_tokens": -1, "total_tokens": True}, Tokens()),
        ({"cost": 1}, Tokens()),
        ([1], Tokens()),
        (7, Tokens()),
    ],
    ids=[
        "openai chat", "openai responses", "anthropic", "gemini", "gemini in camels", "langchain",
        "input only", "floats and nulls", "nonsense", "other words", "a list", "a number",
    ],
)  # fmt: skip
def test_the_words_of_each_provider_are_understood(usage: Any, tokens: Tokens) -> None:
    assert tokens_of(usage) == tokens


def test_the_model_is_found_in_the_usage_and_beside_it() -> None:
    assert model_of({"model": "a"}, {"model": "b"}) == "a"
    assert model_of({"tokens": 1}, {"model_name": "b"}) == "b"
    assert model_of({"model": 3}, None, {"model_version": "c"}) == "c"
    assert model_of(7, {}) == ""


async def spend(
    store: Store, key: SessionKey, tokens: int, model: str = "small", at: datetime = MONDAY
) -> None:
    usage = {"input_tokens": tokens, "output_tokens": 1, "model": model}
    await store.events.append(key, NewEvent("hi", usage=usage, timestamp=at, author="bot"))


def sums(found: list[Usage], *names: str) -> dict[Any, tuple[int, int]]:
    return {
        tuple(getattr(one, name) for name in names): (one.events, one.input_tokens) for one in found
    }


@pytest.fixture
def spent(store: Store, new_key: NewKey) -> Any:
    """Two users of an app and one of another, over two days, with two models."""

    async def fill() -> SessionKey:
        ada = await new_key("chat")
        eve = (await store.sessions.create("support", "eve", "chat")).key
        far = (await store.sessions.create("sales", "ada", "chat")).key
        await spend(store, ada, 1)
        await spend(store, ada, 2, "large")
        await spend(store, ada, 4, at=MONDAY + DAY)
        await spend(store, eve, 8)
        await spend(store, far, 16)
        await store.events.append(ada, "no usage")
        return ada

    return fill


async def test_tokens_are_summed_by_user_model_and_day(store: Store, spent: Any) -> None:
    await spent()

    found = await store.usage(app="support")

    assert found == [
        Usage(
            user=user, model=model, day=day, events=1, input_tokens=tokens, output_tokens=1,
            total_tokens=tokens + 1, cached_tokens=0,
        )
        for user, model, day, tokens in [
            ("ada", "large", "2026-03-02", 2),
            ("ada", "small", "2026-03-02", 1),
            ("ada", "small", "2026-03-03", 4),
            ("eve", "small", "2026-03-02", 8),
        ]
    ]  # fmt: skip


async def test_any_groups_can_be_asked_for_and_none_is_one_sum(store: Store, spent: Any) -> None:
    await spent()

    assert sums(await store.usage(by=("app", "user")), "app", "user") == {
        ("support", "ada"): (3, 7), ("support", "eve"): (1, 8), ("sales", "ada"): (1, 16),
    }  # fmt: skip
    assert sums(await store.usage(by="model"), "model") == {("small",): (4, 29), ("large",): (1, 2)}
    assert sums(await store.usage(by=["month", "author"]), "month", "author") == {
        ("2026-03", "bot"): (5, 31)
    }
    [whole] = await store.usage(by=())
    assert (whole.user, whole.events, whole.input_tokens) == (None, 5, 31)
    assert await store.usage(app="nobody") == []


async def test_it_is_of_a_tenant_an_app_a_user_or_a_session(
    store: Store, spent: Any, open_store: OpenStore
) -> None:
    key = await spent()
    other = (await store.sessions.create("support", "ada", "other")).key
    await spend(store, other, 32)

    async def total(**whose: Any) -> int:
        return sum(one.input_tokens for one in await store.usage(by=(), **whose))

    assert await total() == 63
    assert await total(app="support") == 47
    assert await total(app="support", user="ada") == 39
    assert await total(session=key) == 7
    acme = await open_store(tenant="acme")
    assert await acme.usage() == []


async def test_a_time_range_is_by_timestamp_with_its_beginning_and_without_its_end(
    store: Store, spent: Any
) -> None:
    await spent()

    found = await store.usage(by="day", after=MONDAY, before=MONDAY + DAY)

    assert sums(found, "day") == {("2026-03-02",): (4, 27)}
    assert await store.usage(before=MONDAY) == []


async def test_what_a_fork_copied_counts_once_and_what_was_left_still_counts(
    store: Store, spent: Any
) -> None:
    key = await spent()
    fork = (await store.sessions.fork(key)).key
    await spend(store, fork, 64)
    await store.events.rewind(key, 0)

    found = await store.usage(by="session", app="support", user="ada")

    assert sums(found, "session") == {("chat",): (3, 7), (fork.id,): (1, 64)}
    assert sums(await store.usage(by=(), session=fork)) == {(): (1, 64)}


async def test_deleted_sessions_count_when_asked_for(store: Store, spent: Any) -> None:
    key = await spent()
    await store.sessions.delete(key)

    assert sums(await store.usage(by=())) == {(): (2, 24)}
    assert sums(await store.usage(by=(), include_deleted=True)) == {(): (5, 31)}


async def test_many_sessions_and_many_events_are_all_counted(store: Store) -> None:
    async with store.turn() as turn:
        for number in range(120):
            turn.sessions.create("support", f"user {number % 7}", f"s{number}")
    usage = {"input_tokens": 1}
    for number in (0, 77):
        key = SessionKey("support", f"user {number % 7}", f"s{number}")
        events = [NewEvent("x", usage=usage) for _ in range(2_500)]
        await store.events.append(key, *events)
    for number in range(120):
        key = SessionKey("support", f"user {number % 7}", f"s{number}")
        await store.events.append(key, NewEvent("x", usage=usage))

    assert sums(await store.usage(by=(), app="support")) == {(): (5_120, 5_120)}
    assert sums(await store.usage(by=())) == {(): (5_120, 5_120)}
    one = SessionKey("support", "user 0", "s77")
    assert sums(await store.usage(by=(), session=one)) == {(): (2_501, 2_501)}


async def test_what_cannot_be_asked_is_refused(store: Store, key: SessionKey) -> None:
    wrong: list[dict[str, Any]] = [
        {"by": "token"},
        {"by": ("day", "day")},
        {"user": "ada"},
        {"session": key, "app": "support"},
        {"after": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is what is wrong
    ]
    for asked in wrong:
        with pytest.raises(InvalidError):
            await store.usage(**asked)
    with pytest.raises(NotFoundError):
        await store.usage(session=SessionKey("support", "ada", "unknown"))
