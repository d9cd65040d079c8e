"""From what was typed to a session: the beginning of its id, wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from perdure.cli import when
from perdure.cli.clean import clean
from perdure.cli.drawing import cut
from perdure.cli.invocation import Invocation
from perdure.errors import NotFoundError, PerdureError
from perdure.records import ALL, AllType, Session, SessionKey
from perdure.store import SyncStore

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 8
_COMPLETED = 50
_HELP = 60


class SessionId(click.ParamType[str]):
    """The id of a session, or its beginning; a shell completes it from the store."""

    name = "id"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Ids of the store that begin so; none if there is any trouble: nobody asked for it."""
        del param
        invocation = ctx.find_object(Invocation) or Invocation()
        try:
            with invocation.store() as store:
                found = _beginning(store, incomplete, ALL, ALL, deleted=False)
                items = [one for one, _ in zip(found, range(_COMPLETED), strict=False)]
        except PerdureError:
            return []
        return [
            CompletionItem(one.id, help=cut(one.title, _HELP))
            for one in items
            if clean(one.id) == one.id
        ]


def whose(command: F) -> F:
    """The options that say among whose sessions an id is looked for."""
    command = click.option("--user", metavar="USER", help="Only of this user.")(command)
    return click.option("--app", metavar="APP", help="Only of this app.")(command)


def find_session(
    store: SyncStore,
    given: str,
    app: str | None,
    user: str | None,
    *,
    deleted: bool = False,
    either: bool = False,
) -> Session:
    """The session whose id is, or begins with, what was given.

    A whole id wins over a longer one that begins with it. ``deleted`` looks among deleted
    sessions, ``either`` among all. Raises `NotFoundError`; more than one is a usage error that
    lists them.
    """
    if not given:
        raise click.UsageError("an id, or its beginning, is needed")
    if app is not None and user is not None and not deleted and not either:
        exact = store.sessions.find(SessionKey(app, user, given))
        if exact is not None:
            return exact
    found = _candidates(store, given, app, user, deleted, either)
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise _not_found(store, given, app, user, deleted)
    raise click.UsageError(_ambiguous(given, list(found.values())))


def _candidates(
    store: SyncStore, given: str, app: str | None, user: str | None, deleted: bool, either: bool
) -> dict[SessionKey, Session]:
    """By key, so that several deleted ones of one id are one; whole ids, if there are any."""
    found: dict[SessionKey, Session] = {}
    for one in _beginning(store, given, any_or(app), any_or(user), deleted=deleted or either):
        if not either and (one.deleted_at is not None) != deleted:
            continue
        # In the order of ids: what is longer than the id comes behind it.
        if one.id != given and any(key.id == given for key in found):
            break
        found[one.key] = one
        if len(found) > _SHOWN:
            break
    return found


def any_or(name: str | None) -> str | AllType:
    """The name, or all of them if none was given."""
    return ALL if name is None else name


def _beginning(
    store: SyncStore, given: str, app: str | AllType, user: str | AllType, *, deleted: bool
) -> Iterator[Session]:
    """The sessions whose id begins so, by id."""
    owner = ALL if app is ALL else user
    sessions = store.sessions.iter(
        app, owner, order="id", text=given or None, include_deleted=deleted
    )
    for session in sessions:
        if session.id.startswith(given) and user in (ALL, session.key.user):
            yield session


def _not_found(
    store: SyncStore, given: str, app: str | None, user: str | None, deleted: bool
) -> NotFoundError:
    if deleted:
        return NotFoundError(f"no deleted session has an id that begins with {given!r}")
    gone = next(iter(_candidates(store, given, app, user, True, False).values()), None)
    if gone is not None and gone.deleted_at is not None:
        return NotFoundError(
            f"session {gone.id!r} was deleted at {when.iso(gone.deleted_at)}: "
            f"`perdure sessions restore {gone.id}` brings it back"
        )
    return NotFoundError(f"no session has an id that begins with {given!r}: see `perdure ls`")


def _ambiguous(given: str, found: list[Session]) -> str:
    named = [
        f"{one.id} (app {one.key.app!r}, user {one.key.user!r})"
        if any(other.id == one.id and other is not one for other in found)
        else one.id
        for one in found[:_SHOWN]
    ]
    more = ", …" if len(found) > _SHOWN else ""
    hint = "write more of it, or say --app and --user"
    return f"{given!r} could be {', '.join(named)}{more}: {hint}"
