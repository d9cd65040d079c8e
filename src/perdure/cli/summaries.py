"""``perdure summaries``: what sessions were about, and what is still to be summarised."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.finding import SessionId, find_session, whose
from perdure.cli.invocation import Invocation
from perdure.cli.tables import Column, separated, table
from perdure.errors import InvalidError
from perdure.records import SessionKey, Summary, SummaryJob
from perdure.store import SyncStore

_SUMMARIES = (
    Column("FILTER", "id", yields=1),
    Column("COVERS", right=True),
    Column("VERSION", right=True),
    Column("UPDATED", "dim"),
    Column("TOPICS", "state", yields=2, optional=True),
    Column("TEXT", yields=3),
)
_JOBS = (
    Column("SESSION", "id", yields=1),
    Column("APP", "dim", yields=2, optional=True),
    Column("USER", "dim", yields=3, optional=True),
    Column("FILTER", yields=4, optional=True),
    Column("STATE", "state"),
    Column("TRIES", right=True),
    Column("ASKED", "dim"),
    Column("ERROR", "bad", yields=5),
)
_filter = click.option(
    "--filter", "filter_key", metavar="KEY", default="", help="Of this filter key."
)


@click.group(cls=Group)
def summaries() -> None:
    """List, show, write, make and remove summaries."""


@summaries.command("ls")
@click.argument("session", metavar="[ID]", type=SessionId(), required=False)
@whose
@click.option("--jobs", is_flag=True, help="What is to be summarised, and what has failed.")
@click.pass_obj
def ls(
    invocation: Invocation, session: str | None, app: str | None, user: str | None, jobs: bool
) -> None:
    """List the summaries of a session, or the queue.

    In a pipe: tab-separated filter key, last event covered, version, time, topics and text; of
    the queue id, app, user, filter key, state, number of tries, time of asking and error.
    """
    if session is None and not jobs:
        raise click.UsageError("say of which session, or --jobs for the queue")
    with invocation.store() as store:
        key = find_session(store, session, app, user).key if session else None
        if jobs:
            _list_jobs(invocation, list(_every(lambda c: store.summaries.jobs(key, cursor=c))))
        elif key is not None:
            _list(invocation, list(_every(lambda c: store.summaries.list(key, cursor=c))))


def _every(page_at: Callable[[str | None], Any]) -> Iterator[Any]:
    cursor = None
    while True:
        page = page_at(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _list(invocation: Invocation, found: Sequence[Summary]) -> None:
    if invocation.form != "text":
        invocation.documents(_document(one) for one in found)
    elif not invocation.look.laid_out:
        invocation.lines(separated([_values(one, when.iso(one.updated_at)) for one in found]))
    elif not found:
        invocation.note("no summaries")
    else:
        rows = [_values(one, when.ago(one.updated_at, invocation.now)) for one in found]
        invocation.pages(table(_SUMMARIES, rows, invocation.look))


def _values(one: Summary, updated: str) -> list[str]:
    covers, version = str(one.covers_seq), str(one.version)
    return [one.filter_key, covers, version, updated, ", ".join(one.topics), one.text]


def _list_jobs(invocation: Invocation, found: Sequence[SummaryJob]) -> None:
    if invocation.form != "text":
        invocation.documents(_job_document(one) for one in found)
    elif not invocation.look.laid_out:
        invocation.lines(separated([_job(one, when.iso(one.enqueued_at)) for one in found]))
    elif not found:
        invocation.note("nothing is to be summarised")
    else:
        rows = [_job(one, when.ago(one.enqueued_at, invocation.now)) for one in found]
        invocation.pages(table(_JOBS, rows, invocation.look))


def _job(one: SummaryJob, asked: str) -> list[str]:
    app, user, session_id = one.key
    tries = str(one.attempts)
    return [session_id, app, user, one.filter_key, one.state, tries, asked, one.error or ""]


@summaries.command("show")
@click.argument("session", metavar="ID", type=SessionId())
@whose
@_filter
@click.pass_obj
def show(
    invocation: Invocation, session: str, app: str | None, user: str | None, filter_key: str
) -> None:
    """Print the text of a session's summary."""
    with invocation.store() as store:
        key = find_session(store, session, app, user).key
        _tell(invocation, store.summaries.get(key, filter_key))


@summaries.command("set")
@click.argument("session", metavar="ID", type=SessionId())
@click.argument("text")
@whose
@_filter
@click.option(
    "--covers", type=click.IntRange(min=0), metavar="SEQ", help="The last event it tells of."
)
@click.option("--topic", "topics", metavar="TOPIC", multiple=True, help="A topic; repeatable.")
@click.pass_obj
def write(
    invocation: Invocation,
    session: str,
    text: str,
    app: str | None,
    user: str | None,
    filter_key: str,
    covers: int | None,
    topics: tuple[str, ...],
) -> None:
    """Write a summary by hand; `-` reads it from standard input."""
    words = sys.stdin.read() if text == "-" else text
    with invocation.store() as store:
        key = find_session(store, session, app, user).key
        made = store.summaries.set(key, words, filter_key, covers_seq=covers, topics=topics)
    if invocation.form != "text":
        invocation.document(_document(made))
    else:
        invocation.note(f"version {made.version}, covers {_covered(made)}")


def _covered(one: Summary) -> str:
    return f"events up to {one.covers_seq}" if one.covers_seq else "it does not say what"


@summaries.command("run")
@click.argument("session", metavar="[ID]", type=SessionId(), required=False)
@click.option(
    "--summariser",
    metavar="PLACE",
    required=True,
    help="The function, as module:name; looked for in this folder too.",
)
@whose
@_filter
@click.option("--force", is_flag=True, help="Also where nothing is new.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Jobs at most."
)
@click.pass_obj
def make(
    invocation: Invocation,
    session: str | None,
    summariser: str,
    app: str | None,
    user: str | None,
    filter_key: str,
    force: bool,
    limit: int,
) -> None:
    """Summarise a session now, or do what is in the queue."""
    function = _function(summariser)
    with invocation.store() as store:
        if session is None:
            _work_off(invocation, store, function, limit)
            return
        key = find_session(store, session, app, user).key
        made = store.summaries.summarize(key, filter_key, force=force, summariser=function)
    if made is None:
        invocation.note("nothing to summarise")
    else:
        _tell(invocation, made)


def _work_off(
    invocation: Invocation, store: SyncStore, function: Callable[..., Any], limit: int
) -> None:
    ran = store.summaries.run_jobs(limit, summariser=function)
    if invocation.form != "text":
        invocation.document({"done": ran.done, "failed": ran.failed})
    else:
        invocation.texts([f"{ran.done:,} done, {ran.failed:,} failed"])
    if ran.failed:
        raise click.exceptions.Exit(1)


def _function(place: str) -> Callable[..., Any]:
    """What stands at ``module:name``."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise InvalidError(f"a place is module:name, not {place!r}", "summariser")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidError(f"there is no {place}: {error}", "summariser") from error
    return found


@summaries.command("rm")
@click.argument("session", metavar="ID", type=SessionId())
@whose
@_filter
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(
    invocation: Invocation,
    session: str,
    app: str | None,
    user: str | None,
    filter_key: str,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove a summary; the events it tells of stay."""
    with invocation.store() as store:
        key = find_session(store, session, app, user).key
        found = store.summaries.get(key, filter_key)
        if not dry_run:
            if not invocation.sure(f"Remove the summary of {key.id}?", yes=yes):
                raise click.exceptions.Exit(1)
            store.summaries.delete(key, filter_key)
    if invocation.form != "text":
        invocation.document(_document(found))
    else:
        invocation.note(f"{key.id}: {'would be removed' if dry_run else 'removed'}")


def _tell(invocation: Invocation, found: Summary) -> None:
    if invocation.form != "text":
        invocation.document(_document(found))
    else:
        invocation.texts(found.text.splitlines())


def _place(key: SessionKey) -> dict[str, Any]:
    return {"id": key.id, "app": key.app, "user": key.user}


def _document(one: Summary) -> dict[str, Any]:
    return {
        **_place(one.key),
        "filter_key": one.filter_key,
        "text": one.text,
        "topics": list(one.topics),
        "covers_seq": one.covers_seq,
        "version": one.version,
        "updated_at": when.iso(one.updated_at),
    }


def _job_document(one: SummaryJob) -> dict[str, Any]:
    return {
        **_place(one.key),
        "filter_key": one.filter_key,
        "state": one.state,
        "enqueued_at": when.iso(one.enqueued_at),
        "due_at": when.iso(one.due_at) if one.due_at else None,
        "attempts": one.attempts,
        "error": one.error,
    }
