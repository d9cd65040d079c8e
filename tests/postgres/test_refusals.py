"""What a server refuses, and what its addresses may not show."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import perdure
from perdure import (
    BusyError,
    Config,
    DeniedError,
    EmbeddedPostgres,
    InvalidError,
    PerdureError,
    ReadOnlyError,
    SessionKey,
)
from tests.engines.patience import in_time
from tests.postgres.servers import drop_database, fetch, fresh_database, reachable_folder, server

KEY = SessionKey("app", "user", "chat")
SECRET = "hunter2-&-tyger"
ENCODED = "hunter2-%26-tyger"


@pytest.fixture(scope="module")
def guarded() -> Iterator[EmbeddedPostgres]:
    """A server that asks for passwords."""
    with reachable_folder() as home, EmbeddedPostgres(home / "node") as node:
        yield node


@pytest.fixture
def role(empty_database: str) -> Iterator[str]:
    """The address of the database for somebody who may only connect."""
    name = f"role_{secrets.token_hex(6)}"
    fetch(empty_database, f"CREATE ROLE {name} LOGIN")
    yield as_user(empty_database, name)
    fetch(empty_database, f"DROP OWNED BY {name}")
    fetch(empty_database, f"DROP ROLE {name}")


def as_user(url: str, login: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()


def refused(url: str, **options: Any) -> PerdureError:
    """The error of opening it, the same sync and async."""
    with pytest.raises(PerdureError) as caught:
        in_time(lambda: perdure.open_sync(url, **options))

    async def use() -> None:
        async with perdure.open(url, **options) as store:
            await store.sessions.count()

    with pytest.raises(type(caught.value)):
        in_time(lambda: asyncio.run(use()))
    return caught.value


# -- who may not -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "kind"),
    [(f"postgres:{ENCODED}", DeniedError), (f"nobody:{ENCODED}", DeniedError)],
)
def test_a_wrong_password_or_user_is_denied_at_once(
    guarded: EmbeddedPostgres, login: str, kind: type[PerdureError]
) -> None:
    begun = time.monotonic()

    error = refused(as_user(guarded.url(), login))

    assert type(error) is kind
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:{}@127.0.0.1:1/shop",
        "postgresql://ann:{}@no.such.host.invalid/shop",
        "postgresql://ann:{}@127.0.0.1:1,127.0.0.1:2/shop",
        "postgresql://127.0.0.1:1/shop?user=ann&password={}",
        "postgresql://ann:{}@127.0.0.1:notaport/shop",
        "postgresql://ann:{}@127.0.0.1:1/shop?sslmode=perhaps",
        "postgresql://ann:{}@127.0.0.1:99999/shop",
        "postgresql://ann:{}@[::1/shop",
        # A password that was not encoded, in part taken for something else.
        "postgresql://ann:hunter2-&-tyger/x@127.0.0.1/shop",
        "postgresql://ann:hunter2-&-tyger#x@127.0.0.1/shop",
        "postgresql://ann:hunter2-&-tyger?x@127.0.0.1/shop",
        "wrong password",
    ],
)
def test_no_error_shows_the_password(
    guarded: EmbeddedPostgres, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    if url == "wrong password":
        url = as_user(guarded.url(), "postgres:{}")
    caplog.set_level(logging.DEBUG)

    with pytest.raises(PerdureError) as caught:
        in_time(lambda: perdure.open_sync(url.format(ENCODED), busy_timeout=0.2))

    told = "".join(traceback.format_exception(caught.value))
    for text in (str(caught.value), repr(caught.value), told, caplog.text):
        assert SECRET not in text
        assert ENCODED not in text


def test_no_repr_shows_the_password(guarded: EmbeddedPostgres) -> None:
    fetch(guarded.url(), f"CREATE ROLE ann LOGIN SUPERUSER PASSWORD '{SECRET}'")

    with perdure.open_sync(as_user(guarded.url(), f"ann:{ENCODED}")) as store:
        shown = [repr(store), str(store), store.display_url, repr(store._engine)]

    assert all("hunter2" not in text for text in shown)
    assert "ann:***@" in store.display_url


def test_who_may_not_create_is_told_what_is_missing(role: str) -> None:
    in_public, in_its_own = refused(role), refused(role, schema="of its own")

    assert type(in_public) is DeniedError
    assert type(in_its_own) is DeniedError
    assert "permission denied for database" in str(in_its_own)


def test_who_may_only_use_the_tables_opens_a_store_that_is_there(
    empty_database: str, role: str
) -> None:
    with perdure.open_sync(empty_database) as store:
        store.sessions.create(*KEY)
    name = urlsplit(role).username
    fetch(
        empty_database,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
    )

    with perdure.open_sync(role) as store:
        store.events.append(KEY, "by somebody who owns nothing")
        with store.turn() as turn:
            turn.events.append(KEY, "in a turn")
        assert [event.text for event in store.events.pop(KEY)] == ["in a turn"]
        assert store.events.count(KEY) == 1


def test_who_may_only_read_reads(empty_database: str, role: str) -> None:
    with perdure.open_sync(empty_database) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "hello")
    fetch(
        empty_database, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {urlsplit(role).username}"
    )

    with perdure.open_sync(role) as store:
        assert [event.text for event in store.events.read(KEY)] == ["hello"]
        with pytest.raises(DeniedError):
            store.events.append(KEY, "no")
        with pytest.raises(DeniedError), store.turn() as turn:
            turn.events.append(KEY, "no")
        assert store.events.count(KEY) == 1


# -- what is not there -------------------------------------------------------------------------


def test_a_database_that_is_missing_is_to_be_created_first() -> None:
    url = urlsplit(server())._replace(path="/no_such_database").geturl()

    error = refused(url)

    assert type(error) is InvalidError
    assert "no_such_database" in str(error)
    assert "create the database first" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:notaport/x",
        "postgresql://127.0.0.1:99999/x",
        "postgresql://[::1/x",
        "postgresql://127.0.0.1:1/x?sslmode=perhaps",
        "postgresql://127.0.0.1:1,127.0.0.1:2,:/x?target_session_attrs=never",
    ],
)
def test_an_address_that_makes_no_sense_is_invalid_at_once(url: str) -> None:
    begun = time.monotonic()

    error = refused(url)

    assert type(error) is InvalidError
    assert time.monotonic() - begun < 5


def test_a_server_that_nobody_hears_is_busy_after_the_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PERDURE_URL", raising=False)
    begun = time.monotonic()

    error = refused("postgresql://ann@127.0.0.1:1/shop", busy_timeout=0.5)

    assert type(error) is BusyError
    assert 0.0 <= time.monotonic() - begun < 5


# -- who takes no writes -----------------------------------------------------------------------


def test_a_server_that_takes_no_writes_is_read_only_and_still_read(empty_database: str) -> None:
    with perdure.open_sync(empty_database, busy_timeout=1.0) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "hello")
    name = urlsplit(empty_database).path[1:]
    fetch(empty_database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with perdure.open_sync(empty_database, busy_timeout=1.0) as store:
        assert [event.text for event in store.events.read(KEY)] == ["hello"]
        begun = time.monotonic()
        with pytest.raises(ReadOnlyError):
            store.events.append(KEY, "no")
        assert time.monotonic() - begun < 3
        assert store.events.count(KEY) == 1


def test_an_option_of_the_pool_that_makes_no_sense_is_invalid() -> None:
    for options in ({"pool_max": -1}, {"schema": "pg_x"}, {"busy_timeout": -1}):
        with pytest.raises(InvalidError):
            perdure.open(Config(url=server(), **options))


def test_no_setting_of_the_database_changes_what_is_stored() -> None:
    url = fresh_database(server())
    name = urlsplit(url).path[1:]
    for setting in (
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "TimeZone = 'Asia/Kathmandu'",
        "DateStyle = 'German'",
        "search_path = 'nowhere'",
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        # The last one: it holds for those who set the others, too.
        "statement_timeout = 1",
    ):
        fetch(url, f"ALTER DATABASE {name} SET {setting}")

    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY, state={"path": "C:\\new'"})
        store.events.append(KEY, "back\\slash 'quote'")
        assert store.events.read(KEY)[0].text == "back\\slash 'quote'"
        assert store.state.merged(KEY) == {"path": "C:\\new'"}
    drop_database(url)
