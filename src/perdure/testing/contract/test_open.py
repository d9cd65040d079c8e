"""Opening and closing: URLs, options, variables of the environment, the schema."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import (
    ClosedError,
    Config,
    CorruptError,
    InvalidError,
    Limits,
    PerdureError,
    SchemaTooNewError,
    SessionKey,
    Store,
    SyncStore,
)
from perdure.config import data_folder, resolve
from perdure.engines import engine_for
from perdure.migrations import LEDGER, migrations, nothing_to_set_up
from perdure.operation import Operation, Plan, Query, Statement
from perdure.schema import missing_migrations
from perdure.testing.databases import Database, OpenStore

pytestmark = pytest.mark.own_engine

KEY = SessionKey("support", "ada", "chat")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "agent.db",
        "/tmp/agent.db",
        "memory",
        "memory:x",
        "memory://",
        "sqlite:",
        "sqlite:agent.db",
        "sqlite://agent.db",
        "sqlite:///",
        "sqlite:///a\0b",
        "mysql://localhost/agents",
        ":memory:",
        "://",
        7,
        b"memory:",
    ],
    ids=repr,
)
def test_a_url_that_makes_no_sense_is_refused_before_anything_is_opened(url: Any) -> None:
    with pytest.raises(InvalidError):
        perdure.open(url)
    with pytest.raises(InvalidError):
        perdure.open_sync(url)


def test_the_refusal_of_a_url_does_not_show_its_password() -> None:
    with pytest.raises(InvalidError) as refused:
        perdure.open("mysql://ada:hunter2@localhost/agents")

    assert "mysql" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("event_limit", -1),
        ("event_limit", "many"),
        ("event_limit", 2.5),
        ("memory_limit_per_user", -1),
        ("busy_timeout", -0.1),
        ("busy_timeout", float("nan")),
        ("busy_timeout", float("inf")),
        ("deleted_grace", timedelta(microseconds=-1)),
        ("deleted_grace", 30),
        ("durability", "fast"),
        ("tenant", "a\0b"),
        ("tenant", "x" * 513),
        ("tenant", "\ud800"),
        ("limits", Limits(text=-1)),
        ("limits", Limits(event=-1)),
        ("limits", Limits(state=-1)),
        ("limits", Limits(title=-1)),
        ("limits", Limits(records=-1)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(option: str, value: Any) -> None:
    with pytest.raises(InvalidError) as refused:
        perdure.open("memory:", **{option: value})

    assert option in str(refused.value) + refused.value.path


@pytest.mark.parametrize("option", ["event_limit", "busy_timeout", "memory_limit_per_user"])
@pytest.mark.parametrize("value", [0, None])
def test_zero_and_none_are_the_default(option: str, value: Any) -> None:
    assert _known(resolve(Config(**{option: value}), {})) == _known(resolve(Config(), {}))


def _known(resolved: Any) -> tuple[Any, ...]:
    settings = resolved.settings
    return (
        resolved.url, resolved.durability, resolved.auto_migrate, resolved.busy_timeout,
        settings.tenant, settings.limits, settings.event_limit, settings.deleted_grace,
        settings.memory_limit,
    )  # fmt: skip


def test_the_defaults_are_those_of_the_docs() -> None:
    resolved = resolve(Config(url="memory:"), {})

    assert _known(resolved) == (
        "memory:", "full", True, 10.0, "", Limits(), None, 30 * 86_400 * 1_000_000, None,
    )  # fmt: skip


def test_the_environment_fills_in_what_is_not_given() -> None:
    environment = {
        "PERDURE_URL": "memory:",
        "PERDURE_TENANT": "acme",
        "PERDURE_DURABILITY": "normal",
        "PERDURE_BUSY_TIMEOUT": "2.5",
        "PERDURE_EVENT_LIMIT": "7",
        "PERDURE_MEMORY_LIMIT_PER_USER": "8",
        "PERDURE_AUTO_MIGRATE": "off",
    }

    assert _known(resolve(Config(), environment))[:5] == (
        "memory:", "normal", False, 2.5, "acme",
    )  # fmt: skip
    assert resolve(Config(), environment).settings.event_limit == 7
    assert resolve(Config(), environment).settings.memory_limit == 8


def test_arguments_win_over_the_config_and_that_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "URL": "sqlite:///never.db",
        "TENANT": "env",
        "DURABILITY": "normal",
    }.items():
        monkeypatch.setenv(f"PERDURE_{name}", value)

    by_config = perdure.open(Config(url="memory:", tenant="config"))
    by_argument = perdure.open(Config(url="memory:", tenant="config"), tenant="argument")
    by_environment = perdure.open("memory:")
    blank = perdure.open("memory:", tenant="")

    stores = [by_config, by_argument, by_environment, blank]
    assert [store.tenant for store in stores] == ["config", "argument", "env", ""]
    assert {store.display_url for store in stores} == {"memory:"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENT_LIMIT", "-1"),
        ("EVENT_LIMIT", "many"),
        ("BUSY_TIMEOUT", "nan"),
        ("DURABILITY", "fast"),
        ("AUTO_MIGRATE", "perhaps"),
        ("URL", "agent.db"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidError, match=f"(?i){name}|URL"):
        resolve(Config(), {f"PERDURE_{name}": value})


@pytest.mark.parametrize("name", ["URL", "TENANT", "DURABILITY", "BUSY_TIMEOUT", "EVENT_LIMIT"])
def test_a_blank_variable_is_none(name: str) -> None:
    assert _known(resolve(Config(), {f"PERDURE_{name}": ""})) == _known(resolve(Config(), {}))


def test_without_a_url_the_store_is_in_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("sys.platform", "linux")

    with perdure.open_sync() as store:
        store.sessions.create("support", "ada")

    assert store.display_url == f"sqlite:///{tmp_path}/data/perdure/perdure.db"
    assert (tmp_path / "data/perdure/perdure.db").is_file()
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_folder() == f"{tmp_path}/home/.local/share/perdure"


def test_the_url_is_shown_without_its_password() -> None:
    perdure.register_engine(
        "shown", lambda *_: engine_for(resolve(Config(url="memory:")), nothing_to_set_up())
    )

    store = perdure.open("shown://ada:hunter2@host:5432/db?sslmode=require")

    assert store.display_url == "shown://ada:***@host:5432/db?sslmode=require"
    assert "hunter2" not in repr(store)


async def test_an_engine_is_found_by_the_scheme_it_was_registered_for(
    database: Database, store: Store, key: SessionKey
) -> None:
    # The stores of the test are opened through such a factory where engines are shared.
    assert (await store.sessions.get(key)).key == key
    assert store.display_url.endswith(database.url)


async def test_a_store_opens_at_its_first_call_or_when_told(lone: Database) -> None:
    first = lone.open()
    await first.sessions.create(*KEY)

    async with lone.open() as second:
        await second.sessions.create("support", "eve")
    with pytest.raises(ClosedError):
        await second.sessions.count()
    assert await first.sessions.count("support", "ada") == 1


async def test_an_async_store_can_be_awaited_open() -> None:
    store = await perdure.open("memory:")

    await store.sessions.create(*KEY)
    await store.close()


def test_one_async_store_serves_one_event_loop_after_another() -> None:
    store = perdure.open("memory:")

    asyncio.run(_create(store))
    count = asyncio.run(_count(store))
    asyncio.run(store.close())

    assert count == 1


async def _create(store: Store) -> None:
    await store.sessions.create(*KEY)


async def _count(store: Store) -> int:
    return await store.sessions.count()


async def test_a_sync_store_works_while_an_event_loop_runs_in_its_thread() -> None:
    with perdure.open_sync("memory:") as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "hi")

        assert isinstance(store, SyncStore)
        assert [session.key for session in store.sessions.iter()] == [KEY]


async def test_migrate_applies_nothing_to_a_store_that_is_up_to_date(
    lone: Database, store: Store
) -> None:
    fresh = lone.open()
    await fresh.sessions.count()

    assert await fresh.migrate() == []
    assert await store.migrate() == []


async def tamper(store: Store, statement: Statement) -> None:
    """Write to the ledger of migrations what a release would not."""

    def work(_: object) -> Plan[None]:
        yield statement

    operation = Operation("contract.tamper", (), {}, work)
    await asyncio.to_thread(store._engine.run, operation)


async def test_a_store_that_a_newer_perdure_wrote_is_not_touched(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    await tamper(store, LEDGER.note(number=9999, name="from_the_future", checksum="x", now=1))

    with pytest.raises(SchemaTooNewError, match="from_the_future"):
        await (await open_store()).sessions.find(key)
    with pytest.raises(SchemaTooNewError, match="9999"):
        await store.migrate()


async def test_a_migration_with_another_checksum_is_corrupt(
    store: Store, key: SessionKey, open_store: OpenStore
) -> None:
    applied = migrations()[-1]
    text = f"UPDATE perdure_migrations SET checksum = 'x' WHERE number = {applied.number}"
    change = Query("tamper", {"sqlite": text, "postgres": text}, ())
    await tamper(store, change())

    with pytest.raises(CorruptError, match=applied.name):
        await (await open_store()).sessions.find(key)
    with pytest.raises(CorruptError, match=applied.name):
        await store.migrate()


async def test_without_auto_migrate_an_empty_store_is_refused_and_stays_empty(
    lone: Database,
) -> None:
    names = [migration.name for migration in migrations()]

    with pytest.raises(PerdureError, match="perdure migrate"):
        await lone.open(auto_migrate=False).sessions.count()
    assert await asyncio.to_thread(missing_migrations, Config(url=lone.url)) == names


async def test_the_check_of_migrations_finds_none_missing_in_a_store_that_was_opened(
    store: Store,
) -> None:
    await store.sessions.count()
    url = store._resolved.url

    assert await asyncio.to_thread(missing_migrations, Config(url=url)) == []


async def test_the_clock_must_give_a_time_with_a_zone(lone: Database) -> None:
    with pytest.raises(InvalidError, match="clock"):
        await lone.open(clock=lambda: datetime(2026, 1, 1)).sessions.count()  # noqa: DTZ001


async def test_the_clock_may_be_of_any_zone(lone: Database) -> None:
    moment = datetime.fromisoformat("2026-01-01T05:30:00+05:30")
    store = lone.open(clock=lambda: moment)

    created = await store.sessions.create(*KEY)

    assert created.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert created.created_at.tzinfo is UTC
