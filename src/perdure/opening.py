"""Opening a store: every option by name, with its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from perdure.config import Config
from perdure.policy import ApprovalPolicy
from perdure.retention import RetentionConfig
from perdure.retrying import RetryPolicy
from perdure.store import Store, SyncStore
from perdure.values import Limits
from perdure.webhooks import Webhook


def open(  # noqa: A001 - perdure.open, as gzip.open
    url: str | Config | None = None,
    *,
    tenant: str | None = None,
    durability: str | None = None,
    auto_migrate: bool | None = None,
    busy_timeout: float | None = None,
    event_limit: int | None = None,
    memory_limit_per_user: int | None = None,
    deleted_grace: timedelta | None = None,
    limits: Limits | None = None,
    clock: Callable[[], datetime] | None = None,
    ids: Callable[[], str] | None = None,
    schema: str | None = None,
    pool_min: int | None = None,
    pool_max: int | None = None,
    prepared_statements: bool | None = None,
    pool: Any = None,
    summariser: Callable[..., Any] | None = None,
    extractor: Callable[..., Any] | None = None,
    embedder: Callable[..., Any] | None = None,
    token_counter: Callable[..., Any] | None = None,
    retention: RetentionConfig | None = None,
    on_write: Callable[[Any], Any] | None = None,
    webhooks: Sequence[Webhook] | None = None,
    approval_policy: ApprovalPolicy | None = None,
    can_resolve: Callable[..., Any] | None = None,
    retry: RetryPolicy | None = None,
    cron_handlers: Mapping[str, Callable[..., Any]] | None = None,
) -> Store:
    """A store for async code; options as in `Config`, arguments win over its values.

    `InvalidError` for what makes no sense; whether the store can be opened shows when it is
    entered, awaited, or first used.
    """
    return Store(_config(**locals()))


def open_sync(
    url: str | Config | None = None,
    *,
    tenant: str | None = None,
    durability: str | None = None,
    auto_migrate: bool | None = None,
    busy_timeout: float | None = None,
    event_limit: int | None = None,
    memory_limit_per_user: int | None = None,
    deleted_grace: timedelta | None = None,
    limits: Limits | None = None,
    clock: Callable[[], datetime] | None = None,
    ids: Callable[[], str] | None = None,
    schema: str | None = None,
    pool_min: int | None = None,
    pool_max: int | None = None,
    prepared_statements: bool | None = None,
    pool: Any = None,
    summariser: Callable[..., Any] | None = None,
    extractor: Callable[..., Any] | None = None,
    embedder: Callable[..., Any] | None = None,
    token_counter: Callable[..., Any] | None = None,
    retention: RetentionConfig | None = None,
    on_write: Callable[[Any], Any] | None = None,
    webhooks: Sequence[Webhook] | None = None,
    approval_policy: ApprovalPolicy | None = None,
    can_resolve: Callable[..., Any] | None = None,
    retry: RetryPolicy | None = None,
    cron_handlers: Mapping[str, Callable[..., Any]] | None = None,
) -> SyncStore:
    """A store for code that does not await, opened: see `open`."""
    return SyncStore(_config(**locals()))


def _config(url: str | Config | None, **given: Any) -> Config:
    config = url if isinstance(url, Config) else Config(url=url)
    return replace(config, **{name: value for name, value in given.items() if value is not None})
