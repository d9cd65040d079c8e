"""One PostgreSQL connection as perdure wants it, the errors of the driver, and running a plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

import asyncpg

from perdure.engines import EngineOptions
from perdure.errors import (
    BusyError,
    DeniedError,
    InvalidError,
    PerdureError,
    ReadOnlyError,
    StorageFullError,
    TooLargeError,
)
from perdure.operation import Many, Plan, Row, Statement

Connection = Any
"""An `asyncpg.Connection`, or what a pool lends for one; asyncpg has no types of its own."""

_log = logging.getLogger("perdure")

STATEMENT_SECONDS = 30
"""How long one statement may run; a hung shard or lock must not hold a caller for ever."""
_IDLE_SECONDS = 60
#: What is sent at once, with others, does not wait long for a row: it is better off alone, in a
#: transaction of its own, which has all the store's patience.
_LOCK_MILLIS = "100"
#: Longer than the server's own limit, which is the one that leaves a usable connection.
_COMMAND_SECONDS = STATEMENT_SECONDS + 15
_CONNECT_SECONDS = 10.0
#: Ours, or what libpq's clients decide for themselves: asyncpg takes the unknown for a setting.
_NOT_FOR_THE_SERVER = {
    "schema", "connect_timeout", "channel_binding", "keepalives", "keepalives_idle",
    "keepalives_interval", "keepalives_count", "tcp_user_timeout", "gssencmode", "sslcompression",
    "fallback_application_name",
}  # fmt: skip
_STATEMENTS_KEPT = 1024
#: With these a commit is acknowledged before it is on the server's, or the standby's, disk.
_WEAK_COMMITS = {"off", "local", "remote_write"}

_PROBE = """
SELECT current_setting('synchronous_commit'), current_setting('fsync'),
    current_setting('full_page_writes'),
    EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'), current_user
"""


class Server(NamedTuple):
    """What the probe found on the other side."""

    synchronous_commit: str
    fsync: str
    full_page_writes: str
    citus: bool
    user: str

    @property
    def acknowledges_early(self) -> bool:
        """Whether a role or a DSN has turned off waiting for the disk."""
        return self.synchronous_commit in _WEAK_COMMITS

    def warn(self) -> None:
        """Say in the log when the server itself is set to lose data."""
        for name, value in (("fsync", self.fsync), ("full_page_writes", self.full_page_writes)):
            if value == "off":
                _log.warning("PostgreSQL runs with %s=off: a power cut can destroy the data", name)


async def probe(connection: Connection) -> Server:
    """Ask once what kind of server this is."""
    return Server(*(await connection.fetchrow(_PROBE)))


def quoted(name: str) -> str:
    """A schema's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


async def connected(options: EngineOptions) -> Any:
    """A pool with its first connections; `InvalidError` for an address that makes no sense."""
    try:
        return await asyncpg.create_pool(**connect_arguments(options))
    except asyncpg.ClientConfigurationError as error:
        raise InvalidError(f"postgresql: {error}", "url") from error
    except (ValueError, OverflowError):
        # Not with its own words: what it takes for a port may be a part of the password.
        raise InvalidError(
            "write postgresql://user:password@host:port/database, with what is special in a "
            "password encoded (%2F for /, %23 for #, %3F for ?)",
            "url",
        ) from None


def connect_arguments(options: EngineOptions) -> dict[str, Any]:
    """What `asyncpg.create_pool` is told; the settings of a session where they can be kept."""
    arguments: dict[str, Any] = {
        "dsn": dsn_of(options.url),
        "min_size": options.pool_min,
        "max_size": options.pool_max,
        "timeout": _patience(options.url),
        "command_timeout": None if options.unhurried else _COMMAND_SECONDS,
        "reset": _leave_as_it_is,
    }
    if options.prepared_statements:
        arguments["statement_cache_size"] = _STATEMENTS_KEPT
        if options.durability == "full":
            arguments["init"] = _wait_for_the_disk
        arguments["server_settings"] = {
            "application_name": "perdure",
            **session_settings(options),
        }
    else:
        # Behind PgBouncer each transaction may get another server connection: nothing that
        # belongs to one may be counted on, and it refuses settings at the start.
        arguments["statement_cache_size"] = 0
    return arguments


async def _wait_for_the_disk(connection: Connection) -> None:
    """Turn on what a role or a DSN has turned off; what waits for more is left as it is."""
    if (await connection.fetchval("SHOW synchronous_commit")) in _WEAK_COMMITS:
        await connection.execute("SET synchronous_commit = on")


async def _leave_as_it_is(_connection: Connection) -> None:
    """Nothing of ours is left on a connection: no round trip to clean it."""


def session_settings(options: EngineOptions) -> dict[str, str]:
    """The settings that every connection, or every transaction, has."""
    settings = {
        "search_path": quoted(options.schema),
        # Whatever the role's default is: plans lock the rows they decide by, and then look.
        "default_transaction_isolation": "read committed",
        "statement_timeout": f"{0 if options.unhurried else STATEMENT_SECONDS * 1000}",
        "lock_timeout": _LOCK_MILLIS,
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS * 1000}",
    }
    if options.durability == "normal":
        settings["synchronous_commit"] = "off"
    return settings


def for_a_transaction(settings: Mapping[str, str]) -> str:
    """The same settings as statements that last as long as the transaction."""
    return "".join(
        f"; SET LOCAL {name} = {value if value.startswith(chr(34)) else repr(value)}"
        for name, value in settings.items()
    )


def _patience(url: str) -> float:
    """How long to wait for a connection, in seconds."""
    given = dict(parse_qsl(url.partition("?")[2])).get("connect_timeout", "")
    return float(given) if given.isdecimal() and int(given) else _CONNECT_SECONDS


def dsn_of(url: str) -> str:
    """The URL as libpq knows it; of several hosts the one that can be written, unless said."""
    head, _, query = url.partition("?")
    settings = {
        name: value
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name not in _NOT_FOR_THE_SERVER
    }
    if "," in head:
        settings.setdefault("target_session_attrs", "read-write")
    return f"{head}?{urlencode(settings, quote_via=quote)}" if settings else head


class Trail:
    """What a plan touched first, and whether it wrote."""

    __slots__ = ("id", "part", "wrote")

    def __init__(self) -> None:
        self.part = ""
        self.id = ""
        self.wrote = False

    def note(self, step: Statement | Many) -> None:
        """One more step."""
        self.wrote = self.wrote or not step.query.texts["postgres"].startswith("SELECT")
        if self.part and self.id:
            return
        values = step.args if isinstance(step, Statement) else step.rows[0]
        for name, value in zip(step.query.params, values, strict=False):
            if name in _PARTS:
                self.part = self.part or value
            elif name == "id":
                self.id = self.id or value


_PARTS = {"part", "owner", "app_part"}


async def drive(connection: Connection, plan: Plan[Any], trail: Trail | None = None) -> Any:
    """The result of a plan, run on this connection."""
    rows: Any = None
    try:
        while True:
            step = plan.send(rows)
            if trail is not None:
                trail.note(step)
            text = step.query.texts["postgres"]
            if isinstance(step, Statement):
                rows = as_rows(await connection.fetch(text, *step.args))
            else:
                await connection.executemany(text, step.rows)
                rows = ()
    except StopIteration as result:
        return result.value
    finally:
        plan.close()


def as_rows(records: Sequence[Any]) -> list[Row]:
    """The driver's records as the plain tuples that plans expect."""
    return [tuple(record) for record in records]


# -- errors ------------------------------------------------------------------------------------

#: Nothing was written, and the same again may well work: a deadlock, a race, a server that is
#: starting, stopping or full of connections.
_AGAIN = {"40001", "40P01", "57P01", "57P02", "57P03", "57P05", "53300", "25006", "55P03"}
READ_ONLY = "25006"
NO_SCHEMA = "3F000"
#: Two made the same row at once; the plan finds the other's when it runs again.
RACED = "23505"

_MEANINGS: Mapping[str, tuple[type[PerdureError], str]] = {
    "25006": (ReadOnlyError, "the server takes no writes: connect to the primary"),
    "28000": (DeniedError, "the server refuses this user"),
    "28P01": (DeniedError, "the server refuses this user or password"),
    "3D000": (InvalidError, "create the database first"),
    "3F000": (InvalidError, "create the schema first, or grant CREATE on the database"),
    "42501": (DeniedError, "grant the role what docs/postgresql.md lists"),
    "53100": (StorageFullError, "the server's disk is full; nothing was stored"),
    "40001": (BusyError, "others changed the same rows again and again, try again"),
    "40P01": (BusyError, "others lock the same rows in another order, try again"),
    "53300": (BusyError, "the server has no connection left, try again or take a pooler"),
    "55P03": (BusyError, "another transaction holds the row, try again"),
    "57014": (BusyError, f"the statement took over {STATEMENT_SECONDS} s, try again"),
    "54000": (TooLargeError, "a value is too large for an index"),
}


def state_of(error: BaseException) -> str:
    """The SQLSTATE of an error, or an empty text."""
    return getattr(error, "sqlstate", None) or ""


def lost(error: BaseException) -> bool:
    """Whether the connection is gone, and with it the knowledge of what became of a commit."""
    state = state_of(error)
    if state:
        # XX000: what a server says that is shot while it works.
        return state.startswith("08") or state in {"57P01", "57P02", "57P03", "57P05", "XX000"}
    if isinstance(error, ValueError | asyncpg.UnsupportedClientFeatureError):
        # What the driver refuses before it sends it.
        return False
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def worth_another_try(error: BaseException) -> bool:
    """Whether the same operation, from its beginning, may work now."""
    return state_of(error) in _AGAIN or lost(error)


def translate(error: BaseException, what: str) -> PerdureError:
    """The perdure error for one of the driver's."""
    if isinstance(error, PerdureError):
        return error
    state = state_of(error)
    meaning = _MEANINGS.get(state)
    # Without what stands in DETAIL: values of somebody's rows.
    said = getattr(error, "message", None) or str(error) or type(error).__name__
    if meaning is not None:
        kind, remedy = meaning
        message = f"{what}: {said}: {remedy}"
        if kind is TooLargeError:
            return TooLargeError(message, "postgres")
        return kind(message)
    if lost(error):
        return BusyError(f"{what}: the server cannot be reached: {said}")
    return PerdureError(f"{what}: {said}")
