"""``perdure clarifications``: what agents ask people, and answering it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

from perdure.cli import when
from perdure.cli.clean import clean
from perdure.cli.commands import Group
from perdure.cli.invocation import Invocation
from perdure.cli.lists import Form, first, print_some
from perdure.cli.tables import Column, table
from perdure.errors import NotFoundError
from perdure.records import ALL, Clarification, ClarificationStatus
from perdure.store import SyncStore

_STATES = ("pending", "answered", "expired", "cancelled")
#: Of an id, as people are shown it: its beginning is that of all of a person.
_TAIL = 12
_SHORTEST = 4
_COLUMNS = (
    Column("ID", "id"),
    Column("APP", "dim", yields=2, optional=True),
    Column("USER", "dim", yields=3, optional=True),
    Column("SESSION", "dim", yields=4, optional=True),
    Column("STATUS", "state"),
    Column("QUESTION", yields=5),
    Column("ANSWER", yields=6, optional=True),
    Column("ASKED", "dim"),
)


class _Wanted(NamedTuple):
    app: str | None
    user: str | None
    session: str | None
    status: ClarificationStatus | None


@click.group(cls=Group)
def clarifications() -> None:
    """List, show and answer the questions that agents ask people.

    An ID may be shortened to its last characters, 4 or more, as long as they are unique.
    """


def document(found: Clarification) -> dict[str, Any]:
    """A question with every field; times in UTC."""
    one: dict[str, Any] = {
        "id": found.id,
        "app": found.app,
        "user": found.user,
        "session": found.session.id if found.session else None,
        "options": list(found.options),
    }
    for name in ("question", "context", "sender_context", "status", "answer", "answered_by"):
        one[name] = getattr(found, name)
    for name in ("created_at", "answered_at", "expires_at"):
        moment = getattr(found, name)
        one[name] = moment and when.iso(moment)
    return one


# -- looking ---------------------------------------------------------------------------------


@clarifications.command("ls")
@click.option("--app", metavar="APP", help="Of this app.")
@click.option("--user", metavar="USER", help="Of this user.")
@click.option("--session", metavar="ID", help="Of sessions of this id.")
@click.option(
    "--status",
    type=click.Choice([*_STATES, "any", "all"]),
    default="pending",
    metavar="STATUS",
    show_default=True,
    help="pending, answered, expired, cancelled or any (also: all).",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0: all."
)
@click.pass_obj
def ls(
    invocation: Invocation,
    app: str | None,
    user: str | None,
    session: str | None,
    status: str,
    limit: int,
) -> None:
    """List questions, the newest first.

    In a pipe: tab-separated id, app, user, session, status, time of asking, of the end, question,
    answer.
    """
    state: Any = None if status in {"any", "all"} else status
    with invocation.store() as store:
        every = _every(store, _Wanted(app, user, session, state))
        found = first(every, limit)
    print_some(invocation, found, Form(document, _values, _lay_out), limit)


def _every(store: SyncStore, wanted: _Wanted) -> Iterator[Clarification]:
    app, user, session, status = wanted
    every = store.clarifications.iter(
        ALL if app is None else app, ALL if app is None or user is None else user, status=status
    )
    for one in every:
        of_session = session is None or (one.session is not None and one.session.id == session)
        if user in {None, one.user} and of_session:
            yield one


def _lay_out(invocation: Invocation, found: Sequence[Clarification]) -> None:
    if not found:
        invocation.note("no questions")
        return
    rows = [
        (
            one.id[-_TAIL:],
            one.app,
            one.user,
            one.session.id if one.session else "",
            one.status,
            one.question,
            one.answer or "",
            when.ago(one.created_at, invocation.now),
        )
        for one in found
    ]
    invocation.pages(table(_COLUMNS, rows, invocation.look))


def _values(one: Clarification) -> list[str]:
    ends_at = one.answered_at or one.expires_at
    return [
        one.id,
        one.app,
        one.user,
        one.session.id if one.session else "",
        one.status,
        when.iso(one.created_at),
        when.iso(ends_at) if ends_at else "",
        one.question,
        one.answer or "",
    ]


@clarifications.command("show")
@click.argument("id")
@click.pass_obj
def show(invocation: Invocation, id: str) -> None:
    """Show a question with its context, its options and what came of it."""
    with invocation.store() as store:
        found = _found(store, id)
    if invocation.form != "text":
        invocation.document(document(found))
        return
    invocation.texts(f"{name + ':':15}{value}" for name, value in _facts(invocation, found))


def _facts(invocation: Invocation, found: Clarification) -> Iterator[tuple[str, str]]:
    yield "id", found.id
    yield "question", found.question
    if found.context:
        yield "context", found.context
    for option in found.options:
        yield "option", option
    yield "app", found.app
    yield "user", found.user
    if found.session:
        yield "session", found.session.id
    if found.sender_context:
        yield "sender", found.sender_context
    yield "asked", _time(invocation, found.created_at)
    if found.expires_at:
        yield "expires", _time(invocation, found.expires_at)
    yield "status", found.status
    if found.answered_at:
        by = f" by {found.answered_by}" if found.answered_by else ""
        yield found.status, _time(invocation, found.answered_at) + by
    if found.answer is not None:
        yield "answer", found.answer


def _time(invocation: Invocation, moment: datetime) -> str:
    zone = invocation.zone
    return when.minute(moment, zone) if invocation.look.laid_out else when.iso(moment)


# -- answering -------------------------------------------------------------------------------


@clarifications.command("answer")
@click.argument("id")
@click.argument("answer")
@click.option("--by", metavar="WHO", default="", help="Who answers, for the record.")
@click.pass_obj
def answer(invocation: Invocation, id: str, answer: str, by: str) -> None:
    """Answer a pending question with ANSWER, or - for standard input; once."""
    text = sys.stdin.read().removesuffix("\n") if answer == "-" else answer
    with invocation.store() as store:
        answered = store.clarifications.answer(_found(store, id).id, text, by=by)
    if invocation.form != "text":
        invocation.document(document(answered))
    else:
        invocation.note(f"{answered.id[-_TAIL:]} is answered: {answered.answer!r}")


def _found(store: SyncStore, given: str) -> Clarification:
    """The question of that id, or the only one, pending ones first, whose id ends so."""
    found = store.clarifications.find(given)
    if found is not None:
        return found
    if len(given) >= _SHORTEST:
        for status in ("pending", None):
            every = store.clarifications.iter(status=status)
            ending = [one for one in every if one.id.endswith(given)]
            if len(ending) == 1:
                return ending[0]
            if ending:
                raise NotFoundError(
                    f"the ids of {len(ending)} questions end in {given!r}: say more"
                )
    raise NotFoundError(f"there is no question {clean(given)!r}: `perdure clarifications ls`")
