"""``perdure sessions hold`` and ``release``: what must stay for now."""

from __future__ import annotations

import click

from perdure.cli import when
from perdure.cli.commands import Command
from perdure.cli.finding import SessionId, find_session, whose
from perdure.cli.invocation import Invocation


@click.command("hold", cls=Command)
@click.argument("session", metavar="ID", type=SessionId())
@click.option("--by", metavar="WHO", required=True, help="Who wants it kept.")
@click.option("--reason", metavar="WHY", required=True, help="Why.")
@whose
@click.pass_obj
def hold(
    invocation: Invocation, session: str, by: str, reason: str, app: str | None, user: str | None
) -> None:
    """Let nothing of a session be removed until it is released."""
    with invocation.store() as store:
        found = find_session(store, session, app, user)
        made = store.sessions.hold(found.key, by=by, reason=reason)
    if invocation.form != "text":
        held_at = when.iso(made.held_at)
        invocation.document({"session": found.id, "by": by, "reason": reason, "held_at": held_at})
    else:
        invocation.note(f"{found.id} is held by {by!r}: {reason}")


@click.command("release", cls=Command)
@click.argument("session", metavar="ID", type=SessionId())
@click.option("--by", metavar="WHO", default="", help="Who releases it, for the record.")
@whose
@click.pass_obj
def release(
    invocation: Invocation, session: str, by: str, app: str | None, user: str | None
) -> None:
    """End the hold on a session."""
    with invocation.store() as store:
        found = find_session(store, session, app, user)
        released = store.sessions.release(found.key, by=by)
        still = store.sessions.find_hold(found.key)
    if invocation.form != "text":
        held = still is not None
        invocation.document({"session": found.id, "released": released, "held": held})
        return
    invocation.note(f"{found.id} was {'released' if released else 'not held by itself'}")
    if still is not None:
        invocation.note(f"everything of its user is held by {still.by!r}: {still.reason}")
