"""``perdure prune``: old events of sessions that stay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from perdure.cli import when
from perdure.cli.commands import Command
from perdure.cli.finding import SessionId, find_session, whose
from perdure.cli.invocation import Invocation
from perdure.records import ALL, AllType, Session
from perdure.store import SyncStore


@click.command("prune", cls=Command)
@click.argument("sessions", metavar="[ID]...", nargs=-1, type=SessionId())
@click.option("--all", "every", is_flag=True, help="Every session, or every one of --app, --user.")
@click.option("--keep-last", metavar="N", type=click.IntRange(min=0), help="Keep the last N.")
@click.option("--older-than", metavar="TIME", help="Only what is older: 30d, 12h, 2026-05-20.")
@whose
@click.option("--dry-run", is_flag=True, help="Only say how many would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(
    invocation: Invocation,
    sessions: tuple[str, ...],
    every: bool,
    keep_last: int | None,
    older_than: str | None,
    app: str | None,
    user: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete the oldest events of sessions for good.

    A tool call stays as long as its result. With both options what either keeps is kept.
    """
    if keep_last is None and older_than is None:
        raise click.UsageError("say what goes: --keep-last, --older-than or both")
    if bool(sessions) is every:
        raise click.UsageError("name sessions, or say --all")
    before = None
    if older_than:
        before = when.since(older_than, invocation.now, invocation.zone)
    with invocation.store() as store:
        found = _found(store, sessions, app, user)
        most = [(one, _most(store, one, keep_last, before)) for one in found]
        total = sum(count for _, count in most)
        pruned = [(one.id, count) for one, count in most if count]
        if not dry_run and total:
            question = f"Delete up to {total:,} events of {len(pruned):,} sessions for good?"
            if not invocation.sure(question, yes=yes):
                raise click.exceptions.Exit(1)
            pruned = [
                (
                    one.id,
                    store.events.prune(one.key, keep_last=keep_last, older_than=before),
                )
                for one, count in most
                if count
            ]
    _tell(invocation, pruned, dry_run)


def _found(
    store: SyncStore, given: Sequence[str], app: str | None, user: str | None
) -> list[Session]:
    if not given:
        of_app: str | AllType = ALL if app is None else app
        return list(store.sessions.iter(of_app, ALL if user is None else user))
    found = [find_session(store, one, app, user) for one in given]
    return list({one.key: one for one in found}.values())


def _most(store: SyncStore, one: Session, keep_last: int | None, before: datetime | None) -> int:
    """How many events would go, if no tool call were kept for its result."""
    there = store.events.count(one.key)
    counts = []
    if keep_last is not None:
        counts.append(max(there - keep_last, 0))
    if before is not None:
        counts.append(there - store.events.count(one.key, after_time=before))
    return min(counts)


def _tell(invocation: Invocation, pruned: Sequence[tuple[str, int]], dry_run: bool) -> None:
    if invocation.form != "text":
        invocation.documents({"session": one, "events": count} for one, count in pruned)
        return
    did = "would delete at most" if dry_run else "deleted"
    for one, count in pruned:
        invocation.texts([f"{one}: {did} {count:,} events"])
    if not pruned:
        invocation.note("nothing to delete")
