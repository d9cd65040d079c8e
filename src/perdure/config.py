"""How a store is opened: arguments, then ``PERDURE_*`` variables, then defaults."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from typing import Any, cast
from urllib.parse import parse_qsl

from perdure.errors import InvalidError
from perdure.ids import UuidV7
from perdure.operation import Settings
from perdure.policy import ApprovalPolicy
from perdure.retention import RetentionConfig
from perdure.retrying import RetryPolicy
from perdure.values import Limits, check_text, to_micros
from perdure.webhooks import Webhook

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
#: PostgreSQL cuts longer names without a word.
_SCHEMA_BYTES = 63
_QUERY_PASSWORD = re.compile(r"((?:^|&)(?:ssl)?password=)[^&]*")
_FROM_ENVIRONMENT = (
    "url", "tenant", "durability", "busy_timeout", "event_limit", "schema", "pool_min", "pool_max",
    "memory_limit_per_user",
)  # fmt: skip


_CALLABLES = ("summariser", "extractor", "embedder", "token_counter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything `perdure.open` takes; None stands for the default.

    ``url``: ``memory:``, ``sqlite:///relative.db`` or ``sqlite:////absolute.db``,
    ``jsonl:///folder`` for plain files, ``postgresql://…`` for a server; default
    ``PERDURE_URL``, else a SQLite file in the user's data folder. ``durability``: ``full``
    survives a power cut, ``normal`` may lose the last commits then (never on a crash of the
    process). ``busy_timeout``: seconds to wait for other programs (default 10).
    On PostgreSQL ``busy_timeout`` is also how long an open store tries a server that has gone.
    ``schema``: where the tables are, made if missing (default ``public``). ``pool_min`` and
    ``pool_max``: connections kept, and at most (default 2 and 10). ``prepared_statements``:
    False behind PgBouncer in transaction mode (default True). ``pool``: an `asyncpg.Pool` of
    the application's, used on its own event loop and left open; then there is no ``url``.
    ``event_limit``: keep only that many events a session (default None: all); up to a tenth
    more may be there before the oldest are deleted. The id of a deleted event is forgotten: a
    retry that late stores it again.
    ``memory_limit_per_user``: keep only that many memories an owner (default None: all); a new
    one takes the place of the one that was not changed for longest and is not pinned.
    ``deleted_grace``: how long a deleted session can be restored (default 30 days; zero
    removes at once). ``clock`` gives the time, ``ids`` new ids: for tests.
    ``retention``: what sweeps remove beyond what has expired (default None: only that, and what
    was deleted). ``webhooks``: who is told what happened (default None: nobody).
    ``on_write``: a plain function that gets each `NewEvent`, `NewMemory` and so on before
    it is stored, and gives back what is to be stored in its place, or raises to refuse it.
    ``approval_policy``: which tools need an approval, for gates that are given none of their own
    (default None: all of them). ``can_resolve``: a function, sync or async, that gets a
    `Principal` and an `Approval`, and returns True if that one may answer it (default None: who
    it was asked for, or who has the role ``approver``).
    ``retry``: how often writes are tried again beyond what the engine does (default None: never).
    ``cron_handlers``: functions that run tasks, by name: see `perdure.workers.Scheduler`.
    """

    url: str | None = None
    tenant: str | None = None
    durability: str | None = None
    auto_migrate: bool | None = None
    busy_timeout: float | None = None
    event_limit: int | None = None
    memory_limit_per_user: int | None = None
    deleted_grace: timedelta | None = None
    limits: Limits | None = None
    clock: Callable[[], datetime] | None = None
    ids: Callable[[], str] | None = None
    schema: str | None = None
    pool_min: int | None = None
    pool_max: int | None = None
    prepared_statements: bool | None = None
    pool: Any = None
    summariser: Callable[..., Any] | None = None
    extractor: Callable[..., Any] | None = None
    embedder: Callable[..., Any] | None = None
    token_counter: Callable[..., Any] | None = None
    retention: RetentionConfig | None = None
    on_write: Callable[[Any], Any] | None = None
    webhooks: Sequence[Webhook] | None = None
    approval_policy: ApprovalPolicy | None = None
    can_resolve: Callable[..., Any] | None = None
    retry: RetryPolicy | None = None
    cron_handlers: Mapping[str, Callable[..., Any]] | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A config with every value in place and checked."""

    url: str
    durability: str
    auto_migrate: bool
    busy_timeout: float
    settings: Settings
    schema: str = "public"
    pool_min: int = 2
    pool_max: int = 10
    prepared_statements: bool = True
    unhurried: bool = False
    pool: Any = None
    retry: RetryPolicy | None = None

    @property
    def display_url(self) -> str:
        """The URL without its password."""
        return hide_password(self.url)


def resolve(config: Config, environment: Mapping[str, str] | None = None) -> Resolved:
    """The config with what the environment and the defaults add; `InvalidError`."""
    given = _with_environment(config, os.environ if environment is None else environment)
    durability = given["durability"] or "full"
    if durability not in {"full", "normal"}:
        raise InvalidError(f"durability is 'full' or 'normal', not {durability!r}", "durability")
    grace = given["deleted_grace"]
    url = _url(given["url"], given["pool"])
    pool_max = _whole(given["pool_max"], "pool_max") or 10
    return Resolved(
        url=url,
        durability=durability,
        auto_migrate=given["auto_migrate"] is not False,
        busy_timeout=_number(given["busy_timeout"], "busy_timeout") or 10.0,
        settings=Settings(
            tenant=check_text(given["tenant"] or "", "tenant", 512),
            limits=_limits(given["limits"] or Limits()),
            clock=_clock(given["clock"]),
            ids=given["ids"] or UuidV7(),
            event_limit=_whole(given["event_limit"], "event_limit") or None,
            memory_limit=_whole(given["memory_limit_per_user"], "memory_limit_per_user") or None,
            deleted_grace=_grace(timedelta(days=30) if grace is None else grace),
            retention=_retention(given["retention"]),
            webhooks=_webhooks(given["webhooks"]),
            **{name: _callable(given[name], name) for name in _CALLABLES},
            on_write=_hook(given["on_write"]),
            approval_policy=_policy(given["approval_policy"]),
            can_resolve=_callable(given["can_resolve"], "can_resolve"),
            cron_handlers=checked_handlers(given["cron_handlers"]),
        ),
        schema=_schema(_in_url(url) or given["schema"] or "public"),
        pool_min=min(_whole(given["pool_min"], "pool_min") or 2, pool_max),
        pool_max=pool_max,
        prepared_statements=given["prepared_statements"],
        pool=given["pool"],
        retry=_retry(given["retry"]),
    )


def _callable(value: Any, name: str) -> Callable[..., Any] | None:
    if value is not None and not callable(value):
        raise InvalidError(f"{name} must be callable, not {value!r}", name)
    return cast("Callable[..., Any] | None", value)


def _retention(value: RetentionConfig | None) -> RetentionConfig | None:
    if value is not None and not isinstance(value, RetentionConfig):
        raise InvalidError(f"retention must be a RetentionConfig, not {value!r}", "retention")
    return value


def _policy(value: ApprovalPolicy | None) -> ApprovalPolicy | None:
    if value is not None and not isinstance(value, ApprovalPolicy):
        message = f"approval_policy must be an ApprovalPolicy, not {value!r}"
        raise InvalidError(message, "approval_policy")
    return value


def _retry(value: RetryPolicy | None) -> RetryPolicy | None:
    if value is not None and not isinstance(value, RetryPolicy):
        raise InvalidError(f"retry must be a RetryPolicy, not {value!r}", "retry")
    return value


def _hook(value: Any) -> Callable[..., Any] | None:
    for part in (value, getattr(value, "__call__", None)):  # noqa: B004 - an object's own
        if iscoroutinefunction(part):
            message = "on_write must be a plain function: no transaction waits for an async one"
            raise InvalidError(message, "on_write")
    return _callable(value, "on_write")


def _webhooks(value: Sequence[Webhook] | None) -> tuple[Webhook, ...]:
    hooks = () if value is None else value
    if isinstance(hooks, str) or not isinstance(hooks, Sequence):
        raise InvalidError(f"webhooks is a list of Webhook, not {value!r}", "webhooks")
    for hook in hooks:
        if not isinstance(hook, Webhook):
            raise InvalidError(f"webhooks is a list of Webhook, not of {hook!r}", "webhooks")
    if len({hook.url for hook in hooks}) < len(hooks):
        raise InvalidError("two webhooks have the same url: give one both kinds", "webhooks")
    return tuple(hooks)


def checked_handlers(value: Any) -> Mapping[str, Callable[..., Any]] | None:
    """A copy of the handlers of tasks, by name."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        message = f"cron_handlers maps names to functions, not {value!r}"
        raise InvalidError(message, "cron_handlers")
    for name, handler in value.items():
        if not isinstance(name, str) or not callable(handler):
            message = f"cron_handlers maps names to functions, not {name!r} to {handler!r}"
            raise InvalidError(message, "cron_handlers")
    return dict(value)


def _with_environment(config: Config, environment: Mapping[str, str]) -> dict[str, Any]:
    given = {field.name: getattr(config, field.name) for field in fields(config)}
    for name in _FROM_ENVIRONMENT:
        if given[name] is None:
            given[name] = environment.get(f"PERDURE_{name.upper()}") or None
    if given["pool"] is not None and config.url is None:
        given["url"] = None
    for name in ("auto_migrate", "prepared_statements"):
        if given[name] is None:
            given[name] = _flag(environment.get(f"PERDURE_{name.upper()}") or "on", name)
    return given


def _flag(text: str, name: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise InvalidError(f"PERDURE_{name.upper()} is on or off, not {text!r}", name)


def _schema(name: str) -> str:
    check_text(name, "schema", _SCHEMA_BYTES)
    if name.startswith("pg_") or name in {"$user", "information_schema"}:
        raise InvalidError(f"schema {name!r}: that name is PostgreSQL's own", "schema")
    return name


def _in_url(url: str) -> str:
    """The schema in the URL of a server: for those who can give nothing else, in a shell."""
    scheme, _, rest = url.partition("://")
    if not scheme.endswith(("postgresql", "postgres")):
        return ""
    return dict(parse_qsl(rest.partition("?")[2])).get("schema", "")


def _number(value: float | str | None, name: str) -> float:
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        raise InvalidError(f"{name} must be a number, not {value!r}", name) from None
    if not number >= 0 or number == float("inf"):
        raise InvalidError(f"{name} must be 0 (the default) or more, not {value!r}", name)
    return number


def _whole(value: float | str | None, name: str) -> int:
    number = _number(value, name)
    if number != int(number):
        raise InvalidError(f"{name} must be a whole number, not {value!r}", name)
    return int(number)


def _limits(limits: Limits) -> Limits:
    if not isinstance(limits, Limits):
        raise InvalidError(f"limits must be a perdure.Limits, not {limits!r}", "limits")
    for field in fields(limits):
        value = getattr(limits, field.name)
        if not isinstance(value, int) or value < 1:
            message = f"limits: {field.name} must be a whole number, 1 or more, not {value!r}"
            raise InvalidError(message, "limits")
    return limits


def _grace(grace: timedelta) -> int:
    if not isinstance(grace, timedelta) or grace < timedelta(0):
        raise InvalidError(f"deleted_grace must be a timedelta, 0 or more, not {grace!r}")
    return grace // timedelta(microseconds=1)


def _clock(clock: Callable[[], datetime] | None) -> Callable[[], int]:
    if clock is None:
        return lambda: time.time_ns() // 1_000
    return lambda: to_micros(clock(), "clock")


def _url(url: str | None, pool: object) -> str:
    if pool is not None:
        if url is not None:
            raise InvalidError("a pool knows its server: give the pool or a url, not both", "pool")
        return "postgresql://"
    if url is None:
        return f"sqlite:///{data_folder()}/perdure.db"
    if not isinstance(url, str) or ":" not in url:
        hint = "write sqlite:///file.db for a file, jsonl:///folder for plain files, or memory:"
        raise InvalidError(f"{url!r} is not a URL: {hint}", "url")
    return url


def data_folder() -> str:
    """Where this platform keeps a user's data."""
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "perdure")
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA", home), "perdure")
    return os.path.join(os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share", "perdure")


def hide_password(url: str) -> str:
    """The URL with ``***`` for its password, as it may be shown."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        return url
    # Not by urlsplit: a password with a special character that is not encoded is still one.
    before, at, after = rest.rpartition("@")
    user, colon, password = before.partition(":")
    shown = f"{user}:***{at}{after}" if password else rest
    head, mark, query = shown.partition("?")
    query = _QUERY_PASSWORD.sub(r"\1***", query)
    return f"{scheme}://{head}{mark}{query}"
