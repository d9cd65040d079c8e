"""``perdure compact``: the room of what was removed."""

from __future__ import annotations

from typing import Any

import click

from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.cli.upkeep import readable
from perdure.examining import examine_store, size_of_store


@click.command("compact", cls=Command)
@click.option("--dry-run", is_flag=True, help="Only say about how much it would give back.")
@click.pass_obj
def compact(invocation: Invocation, dry_run: bool) -> None:
    """Write anew what has removed rows in it, so that their room and their bytes are gone.

    Who writes waits meanwhile. A PostgreSQL server does this by itself: VACUUM.
    """
    invocation.check_there()
    told = _foreseen(invocation) if dry_run else _done(invocation)
    remains = told.get("remains", ())
    if invocation.form != "text":
        invocation.document(told)
        return
    for sentence in remains:
        invocation.warn(sentence)
    if told["before"] is None:
        invocation.note("nothing of this store is on this machine")
    elif dry_run:
        of = readable(told["before"])
        invocation.texts([f"about {readable(told['reclaimable'] or 0)} of {of} would come free"])
    else:
        invocation.texts([f"{readable(told['before'])} before, {readable(told['after'])} after"])


def _foreseen(invocation: Invocation) -> dict[str, Any]:
    before = size_of_store(invocation.resolved)
    facts = {} if before is None else examine_store(invocation.resolved, quick=True).facts
    return {"before": before, "reclaimable": facts.get("reclaimable")}


def _done(invocation: Invocation) -> dict[str, Any]:
    with invocation.store() as store:
        done = store.compact()
    return {"before": done.before, "after": done.after, "remains": list(done.remains)}
