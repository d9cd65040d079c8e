"""``perdure artifacts``: the files of a session or a user."""

from __future__ import annotations

import mimetypes
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.finding import SessionId, find_session, whose
from perdure.cli.invocation import Invocation
from perdure.cli.tables import Column, separated, table
from perdure.records import Artifact, ArtifactScope, SessionKey, UserScope
from perdure.store import SyncStore

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = (
    Column("NAME", "id", yields=2),
    Column("VERSION", right=True),
    Column("BYTES", right=True),
    Column("TYPE", "dim", yields=3, optional=True),
    Column("SAVED", "dim"),
)
_PLAIN = "application/octet-stream"


def _of(command: F) -> F:
    """The options that say whose artifacts are meant."""
    option = click.option(
        "--session",
        metavar="ID",
        type=SessionId(),
        help="Of this session; without it, of the user that --app and --user name.",
    )
    return option(whose(command))


_version = click.option(
    "--version", type=click.IntRange(min=0), metavar="N", help="This version of it."
)


@click.group(cls=Group)
def artifacts() -> None:
    """List, read, store and remove the files of a session or a user."""


@artifacts.command("ls")
@click.argument("name", required=False)
@_of
@click.pass_obj
def ls(
    invocation: Invocation, name: str | None, session: str | None, app: str | None, user: str | None
) -> None:
    """List artifacts at their latest version, or with a NAME all versions of it.

    In a pipe: tab-separated name, version, bytes, type and time.
    """
    with invocation.store() as store:
        scope = _scope(store, session, app, user)
        if name is None:
            found = list(store.artifacts.iter(scope))
        else:
            found = list(_versions(store, scope, name))
    if invocation.form != "text":
        invocation.documents(_document(one) for one in found)
    elif not invocation.look.laid_out:
        invocation.lines(separated([_values(one) for one in found]))
    elif found:
        rows = [
            (one.name, f"{one.version}", f"{one.size:,}", one.mime_type, _ago(invocation, one))
            for one in found
        ]
        invocation.pages(table(_COLUMNS, rows, invocation.look))
    else:
        invocation.note("no artifacts")


@artifacts.command("get")
@click.argument("name")
@_version
@click.option("-o", "--output", metavar="FILE", help="Write to this file, not to the output.")
@_of
@click.pass_obj
def get(
    invocation: Invocation,
    name: str,
    version: int | None,
    output: str | None,
    session: str | None,
    app: str | None,
    user: str | None,
) -> None:
    """Write the bytes of an artifact; with --json its record, and the bytes as base64."""
    with invocation.store() as store:
        scope = _scope(store, session, app, user)
        if output is not None:
            found = store.artifacts.get_version(scope, name, version)
            pieces = store.artifacts.pieces(scope, name, version=found.version)
            _write(Path(output), pieces)
            if invocation.form != "text":
                invocation.document({**_document(found), "file": output})
            else:
                invocation.note(f"{found.size:,} bytes written to {output}")
        elif invocation.form != "text":
            loaded = store.artifacts.load(scope, name, version=version)
            base64 = b64encode(loaded.data).decode()
            invocation.document({**_document(loaded.artifact), "base64": base64})
        else:
            for piece in store.artifacts.pieces(scope, name, version=version):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@artifacts.command("put")
@click.argument("file", type=click.File("rb"))
@click.option("--name", metavar="NAME", help="The name (default: that of the file).")
@click.option("--type", "mime", metavar="TYPE", help="Its MIME type (default: by the name).")
@_of
@click.pass_obj
def put(
    invocation: Invocation,
    file: BinaryIO,
    name: str | None,
    mime: str | None,
    session: str | None,
    app: str | None,
    user: str | None,
) -> None:
    """Store a FILE (- is standard input) as the next version of an artifact."""
    called = name or Path(str(getattr(file, "name", "") or "")).name
    if not called or called == "<stdin>":
        raise click.UsageError("standard input has no name: say --name")
    mime_type = mime or mimetypes.guess_type(called)[0] or _PLAIN
    with invocation.store() as store:
        scope = _scope(store, session, app, user)
        saved = store.artifacts.save(scope, called, file, mime_type=mime_type)
    if invocation.form != "text":
        invocation.document(_document(saved))
    else:
        invocation.note(f"{saved.name} is saved as version {saved.version}")


@artifacts.command("rm")
@click.argument("name")
@_version
@_of
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(
    invocation: Invocation,
    name: str,
    version: int | None,
    session: str | None,
    app: str | None,
    user: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove an artifact for good: every version of it, or one."""
    with invocation.store() as store:
        scope = _scope(store, session, app, user)
        # Says that there is none, if so.
        store.artifacts.get_version(scope, name, version)
        found = [one for one in _versions(store, scope, name) if version in {None, one.version}]
        what = f"{name}, {len(found)} version{'s' * (len(found) != 1)}"
        if not dry_run:
            if not invocation.sure(f"Remove {what} for good?", yes=yes):
                raise click.exceptions.Exit(1)
            store.artifacts.delete(scope, name, version=version)
    if invocation.form != "text":
        invocation.documents(_document(one) for one in found)
    else:
        invocation.note(f"{what} {'would be removed' if dry_run else 'removed'}")


def _scope(
    store: SyncStore, session: str | None, app: str | None, user: str | None
) -> ArtifactScope:
    if session is not None:
        return find_session(store, session, app, user).key
    if app is None or user is None:
        raise click.UsageError("whose? say --session, or --app and --user")
    return UserScope(app, user)


def _versions(store: SyncStore, scope: ArtifactScope, name: str) -> Iterator[Artifact]:
    cursor = None
    while True:
        page = store.artifacts.versions(scope, name, cursor=cursor)
        yield from page
        cursor = page.next_cursor
        if cursor is None:
            return


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Beside the file first: what was there stays if something goes wrong."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _document(artifact: Artifact) -> dict[str, Any]:
    scope = artifact.scope
    return {
        "name": artifact.name,
        "version": artifact.version,
        "app": scope.app,
        "user": scope.user,
        "session": scope.id if isinstance(scope, SessionKey) else None,
        "seq": artifact.seq,
        "mime_type": artifact.mime_type,
        "metadata": artifact.metadata,
        "sha256": artifact.sha256,
        "size": artifact.size,
        "created_at": when.iso(artifact.created_at),
    }


def _values(artifact: Artifact) -> list[str]:
    return [
        artifact.name,
        str(artifact.version),
        str(artifact.size),
        artifact.mime_type,
        when.iso(artifact.created_at),
    ]


def _ago(invocation: Invocation, artifact: Artifact) -> str:
    return when.ago(artifact.created_at, invocation.now)
