"""``perdure export`` and ``perdure erase``: everything of one person."""

from __future__ import annotations

from dataclasses import asdict

import click

from perdure.cli import when
from perdure.cli.clean import clean_json
from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation


@click.command("export", cls=Command)
@click.argument("app")
@click.argument("user")
@click.pass_obj
def export(invocation: Invocation, app: str, user: str) -> None:
    """Print everything of a person, one JSON document a line.

    A document has a table and its row; bytes are base64, times microseconds since 1970.
    """
    rows = 0
    with invocation.store() as store:
        for line in store.export_user(app, user):
            print(clean_json(line))
            rows += 1
    invocation.note(f"{rows:,} rows of user {user!r} in app {app!r}")


@click.command("erase", cls=Command)
@click.argument("app")
@click.argument("user")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@click.option("--override-holds", is_flag=True, help="Erase also what is held.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def erase(
    invocation: Invocation, app: str, user: str, dry_run: bool, override_holds: bool, yes: bool
) -> None:
    """Remove everything of a person for good, and keep imports from bringing them back."""
    with invocation.store() as store:
        sessions = store.sessions.count(app, user, include_deleted=True)
        what = f"{sessions:,} session{'s' * (sessions != 1)} of user {user!r} in app {app!r}"
        if dry_run:
            if invocation.form != "text":
                invocation.document({"app": app, "user": user, "sessions": sessions})
            else:
                invocation.texts([f"would erase {what}, with all that hangs on them"])
            return
        if not invocation.sure(f"Erase {what}, and all else of them, for good?", yes=yes):
            raise click.exceptions.Exit(1)
        receipt = store.erase_user(app, user, override_holds=override_holds)
    if invocation.form != "text":
        invocation.document({**asdict(receipt), "erased_at": when.iso(receipt.erased_at)})
        return
    invocation.texts([f"erased user {user!r} in app {app!r} at {when.iso(receipt.erased_at)}"])
    removed = [(table, rows) for table, rows in receipt.removed.items() if rows]
    invocation.texts(f"  {rows:>8,} {table}" for table, rows in removed)
    for where in receipt.remains:
        invocation.note(f"still: {where}")
