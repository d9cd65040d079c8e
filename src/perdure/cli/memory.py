"""``perdure memory``: what is remembered of a user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.describing import memory_document
from perdure.cli.drawing import cut
from perdure.cli.invocation import Invocation
from perdure.cli.tables import Column, separated, table
from perdure.errors import NotFoundError
from perdure.records import ALL, AllType, Memory
from perdure.store import SyncStore

_COLUMNS = (
    Column("MEMORY", "id", yields=1),
    Column("CONTENT", yields=5),
    Column("TOPICS", "state", yields=4, optional=True),
    Column("CHANGED", "dim"),
    Column("UNTIL", "bad"),
    Column("SCORE", right=True),
)
_NAMED = 60


@click.group(cls=Group)
def memory() -> None:
    """List, find, show, add, edit and remove what is remembered of a user.

    APP and USER are names; USER "" is what all users of an app share.
    """


_LIMIT = click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0: all."
)
_ONLY = click.option(
    "--topic", "topics", metavar="TOPIC", multiple=True, help="Only with this topic; repeatable."
)
_AS_OF = click.option(
    "--as-of", metavar="TIME", help="What held then: 2h, 3d, yesterday, an ISO time."
)
_EVER = click.option("--all", "ever", is_flag=True, help="Also what does not hold now.")


@memory.command("ls")
@click.argument("app")
@click.argument("user")
@_ONLY
@click.option("--session", metavar="ID", help="Only from this session.")
@_AS_OF
@_EVER
@_LIMIT
@click.pass_obj
def ls(
    invocation: Invocation,
    app: str,
    user: str,
    topics: tuple[str, ...],
    session: str | None,
    as_of: str | None,
    ever: bool,
    limit: int,
) -> None:
    """List memories, the last changed first.

    In a pipe: tab-separated id, time of the last change, content, topics, and the time until
    which it holds.
    """
    at = _moment(invocation, as_of, ever)
    with invocation.store() as store:
        found = store.memory.iter(app, user, topics=topics, session=session, as_of=at)
        some = list(islice(found, limit + 1 if limit else None))
    shown = some[:limit] if limit else some
    _print(invocation, shown, [])
    if len(some) > len(shown):
        invocation.note(f"the first {limit}; --limit 0 gives all")


@memory.command("search")
@click.argument("app")
@click.argument("user")
@click.argument("words", metavar="WORD...", nargs=-1, required=True)
@_ONLY
@_AS_OF
@_EVER
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many."
)
@click.pass_obj
def search(
    invocation: Invocation,
    app: str,
    user: str,
    words: tuple[str, ...],
    topics: tuple[str, ...],
    as_of: str | None,
    ever: bool,
    limit: int,
) -> None:
    """Find memories that hold any of the words, the best first.

    In a pipe as `ls`, with the score at the end.
    """
    at = _moment(invocation, as_of, ever)
    with invocation.store() as store:
        hits = store.memory.search(app, user, " ".join(words), topics=topics, as_of=at, limit=limit)
    _print(invocation, [hit.memory for hit in hits], [hit.score for hit in hits])


@memory.command("show")
@click.argument("app")
@click.argument("user")
@click.argument("memory_id", metavar="ID")
@click.pass_obj
def show(invocation: Invocation, app: str, user: str, memory_id: str) -> None:
    """Show one memory with all that is known of it."""
    with invocation.store() as store:
        found = _find(store, app, user, memory_id)
    if invocation.form != "text":
        invocation.document(memory_document(found))
        return
    document = memory_document(found)
    for name, value in document.items():
        if value not in (None, "", [], {}, False):
            invocation.texts([f"{name:<14}{_flat(value)}"])


@memory.command("history")
@click.argument("app")
@click.argument("user")
@click.argument("memory_id", metavar="ID")
@click.pass_obj
def history(invocation: Invocation, app: str, user: str, memory_id: str) -> None:
    """Show what a memory once was, version by version.

    In a pipe: tab-separated version, time, content, topics.
    """
    with invocation.store() as store:
        found = _find(store, app, user, memory_id)
        versions = store.memory.history(app, user, found.id)
    if invocation.form != "text":
        invocation.documents(memory_document(version) for version in versions)
        return
    rows = [
        (str(one.version), when.iso(one.updated_at), one.content, ", ".join(one.topics))
        for one in versions
    ]
    columns = (
        Column("VERSION", right=True),
        Column("CHANGED", "dim"),
        Column("CONTENT", yields=5),
        Column("TOPICS", "state", yields=4, optional=True),
    )
    if invocation.look.laid_out:
        invocation.pages(table(columns, rows, invocation.look))
    else:
        invocation.lines(separated(rows))


@memory.command("add")
@click.argument("app")
@click.argument("user")
@click.argument("content")
@click.option("--topic", "topics", metavar="TOPIC", multiple=True, help="A topic; repeatable.")
@click.option("--pin", is_flag=True, help="No limit takes it away.")
@click.pass_obj
def add(
    invocation: Invocation,
    app: str,
    user: str,
    content: str,
    topics: tuple[str, ...],
    pin: bool,
) -> None:
    """Remember something; the id is printed."""
    with invocation.store() as store:
        added = store.memory.add(app, user, content, topics, pinned=pin)
    _tell(invocation, added)


@memory.command("edit")
@click.argument("app")
@click.argument("user")
@click.argument("memory_id", metavar="ID")
@click.option("--content", metavar="TEXT", help="What it is to say.")
@click.option(
    "--topic", "topics", metavar="TOPIC", multiple=True,
    help="Its topics, in the place of those it has; repeatable.",
)  # fmt: skip
@click.option("--pin/--no-pin", default=None, help="Whether a limit may take it away.")
@click.pass_obj
def edit(
    invocation: Invocation,
    app: str,
    user: str,
    memory_id: str,
    content: str | None,
    topics: tuple[str, ...],
    pin: bool | None,
) -> None:
    """Change a memory; what it was stays in its history."""
    if content is None and not topics and pin is None:
        raise click.UsageError("say what to change: --content, --topic, --pin or --no-pin")
    with invocation.store() as store:
        found = _find(store, app, user, memory_id)
        changed = store.memory.update(
            app, user, found.id, content=content, topics=topics or None, pinned=pin
        )
    _tell(invocation, changed)


@memory.command("rm")
@click.argument("app")
@click.argument("user")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(
    invocation: Invocation, app: str, user: str, ids: tuple[str, ...], dry_run: bool, yes: bool
) -> None:
    """Remove memories for good; they are not learnt again from old conversations."""
    with invocation.store() as store:
        some = [_find(store, app, user, one) for one in ids]
        found = list({one.id: one for one in some}.values())
        if not dry_run:
            what = cut(found[0].content, _NAMED) if len(found) == 1 else f"{len(found)} memories"
            if not invocation.sure(f"Remove {what!r} for good?", yes=yes):
                raise click.exceptions.Exit(1)
            for one in found:
                store.memory.delete(app, user, one.id)
    if invocation.form != "text":
        invocation.documents(memory_document(one) for one in found)
        return
    done = "would be removed" if dry_run else "removed"
    for one in found:
        invocation.note(f"{one.id} {done}: {cut(one.content, _NAMED)}")


@memory.command("clear")
@click.argument("app")
@click.argument("user")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def clear(invocation: Invocation, app: str, user: str, dry_run: bool, yes: bool) -> None:
    """Remove all memories of a user for good."""
    with invocation.store() as store:
        count = store.memory.count(app, user, as_of=ALL)
        if not dry_run:
            what = f"all {count:,} memories of user {user!r} in app {app!r}"
            if not invocation.sure(f"Remove {what} for good?", yes=yes):
                raise click.exceptions.Exit(1)
            count = store.memory.clear(app, user)
    if invocation.form != "text":
        invocation.document({"app": app, "user": user, "memories": count})
    else:
        done = "would be removed" if dry_run else "removed"
        invocation.note(f"{count:,} memor{'y' if count == 1 else 'ies'} {done}")


def _moment(invocation: Invocation, as_of: str | None, ever: bool) -> datetime | AllType | None:
    if ever and as_of is not None:
        raise click.UsageError("--all is at any time: leave out --as-of")
    if ever:
        return ALL
    return None if as_of is None else when.since(as_of, invocation.now, invocation.zone)


def _find(store: SyncStore, app: str, user: str, given: str) -> Memory:
    """The memory whose id is, or begins or ends with, what was given."""
    exact = store.memory.find(app, user, given) if given.strip() else None
    if exact is not None:
        return exact
    found = [
        one
        for one in store.memory.iter(app, user, as_of=ALL)
        if given.strip() and (one.id.startswith(given) or one.id.endswith(given))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        message = f"no memory of user {user!r} in app {app!r} has the id {given!r}"
        raise NotFoundError(f"{message}: see `perdure memory ls`")
    raise click.UsageError(f"{given!r} could be {len(found)} memories: write more of the id")


def _print(invocation: Invocation, memories: Sequence[Memory], scores: Sequence[float]) -> None:
    if invocation.form != "text":
        documents = [memory_document(one) for one in memories]
        for document, score in zip(documents, scores, strict=False):
            document["score"] = score
        invocation.documents(documents)
        return
    shown = [f"{score:.3f}" for score in scores] or [""] * len(memories)
    if not invocation.look.laid_out:
        plain = [_values(one) for one in memories]
        if scores:
            plain = [[*row, score] for row, score in zip(plain, shown, strict=True)]
        invocation.lines(separated(plain))
    elif not memories:
        invocation.note("no memories")
    else:
        rows = [
            (
                one.id,
                one.content,
                ", ".join(one.topics),
                when.ago(one.updated_at, invocation.now),
                when.ago(one.valid_until, invocation.now) if one.valid_until else "",
                score,
            )
            for one, score in zip(memories, shown, strict=True)
        ]
        invocation.pages(table(_COLUMNS, rows, invocation.look))


def _values(one: Memory) -> list[str]:
    until = when.iso(one.valid_until) if one.valid_until else ""
    return [one.id, when.iso(one.updated_at), one.content, ",".join(one.topics), until]


def _flat(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tell(invocation: Invocation, one: Memory) -> None:
    if invocation.form != "text":
        invocation.document(memory_document(one))
    else:
        invocation.texts([one.id])
