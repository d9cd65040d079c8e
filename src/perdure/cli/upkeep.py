"""``perdure status`` and ``perdure sweep``: the store as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.examining import size_of_store
from perdure.records import ALL
from perdure.schema import missing_migrations
from perdure.store import SyncStore

_COUNTED = 10_000
_KILO = 1024


@click.command("status", cls=Command)
@click.pass_obj
def status(invocation: Invocation) -> None:
    """Show where the store is, its schema, and how much is in it."""
    invocation.check_there()
    missing = missing_migrations(invocation.config)
    about: dict[str, Any] = {
        "url": invocation.resolved.display_url,
        "tenant": invocation.resolved.settings.tenant,
        "bytes": size_of_store(invocation.resolved),
        "schema": "up to date" if not missing else "behind",
        "missing": missing,
    }
    if not missing:
        with invocation.store() as store:
            about |= _counts(store)
    if invocation.form != "text":
        invocation.document(about)
    else:
        invocation.texts(_told(about))


def _counts(store: SyncStore) -> dict[str, int | None]:
    live = store.sessions.count()
    every = store.sessions.count(include_deleted=True)
    counts: dict[str, int | None] = {"sessions": live, "deleted": every - live, "events": None}
    if live <= _COUNTED:
        # Beyond that it would mean reading for seconds.
        counts["events"] = sum(one.event_count for one in store.sessions.iter(ALL, ALL))
    return counts


def _told(about: dict[str, Any]) -> Iterator[str]:
    shown = {
        "url": about["url"],
        "tenant": about["tenant"],
        "size": readable(about["bytes"]) if about["bytes"] is not None else "",
        "schema": about["schema"] + "".join(f", lacks {name}" for name in about["missing"]),
    }
    for name in ("sessions", "deleted", "events"):
        if about.get(name) is not None:
            shown[name] = f"{about[name]:,}"
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        if value:
            yield f"{name.ljust(width)}  {value}"


def readable(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _KILO:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= _KILO
    return f"{size:,.1f} TiB"


@click.command("sweep", cls=Command)
@click.option(
    "--retention-days",
    metavar="N",
    type=click.IntRange(min=1),
    help="Also sessions that were not written to for N days.",
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.pass_obj
def sweep(invocation: Invocation, retention_days: int | None, dry_run: bool) -> None:
    """Remove what has had its time: expired sessions, and deleted ones after their grace."""
    invocation.retention_days = retention_days
    with invocation.store() as store:
        swept = store.sweep(dry_run=dry_run)
    if invocation.form != "text":
        kinds = {kind: asdict(tally) for kind, tally in swept.kinds.items()}
        invocation.document({"kinds": kinds, "held": swept.held, "bytes": swept.bytes})
        return
    did = "would purge" if dry_run else "purged"
    invocation.texts([f"{did} {swept.expired:,} expired and {swept.deleted:,} deleted sessions"])
    for kind, tally in swept.kinds.items():
        invocation.texts([f"  {tally.count:>8,} {kind}, {readable(tally.bytes)}"])
    if swept.held:
        invocation.note(f"{swept.held:,} held sessions were passed over")
