"""``perdure distribute``: the tables of one machine on many."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import click

from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.cli.schema import CHECK_FAILED
from perdure.schema import distribute_store, undistributed_tables

_LEFTOVER = (
    "Citus hides the rows that it has copied, and they still take room here: for each table "
    "truncate_local_data_after_distributing_table frees it"
)


@click.command("distribute", cls=Command)
@click.option("--check", is_flag=True, help="Change nothing; exit code 8 if a table is local.")
@click.pass_obj
def distribute(invocation: Invocation, check: bool) -> None:
    """Spread the tables over the machines of a Citus cluster.

    Those who write to a table wait while its rows are copied. What is done stays done: after a
    failure run it again.
    """
    if check:
        names = undistributed_tables(invocation.resolved)
        _tell(invocation, "local", "would distribute", names)
        if names:
            raise click.exceptions.Exit(CHECK_FAILED)
        return
    if invocation.form != "text":
        invocation.document({"distributed": list(distribute_store(invocation.resolved))})
        return
    done = list(_shown(invocation, distribute_store(invocation.resolved)))
    if done:
        invocation.note(_LEFTOVER)
    else:
        invocation.note("every table is distributed")


def _tell(invocation: Invocation, key: str, words: str, names: list[str]) -> None:
    if invocation.form != "text":
        invocation.document({key: names})
    elif names:
        invocation.lines(f"{words} {name}" for name in names)
    else:
        invocation.note("every table is distributed")


def _shown(invocation: Invocation, names: Iterator[str]) -> Iterator[str]:
    """The names, each said as soon as it is there: a large table takes a while."""
    started = perf_counter()
    for name in names:
        took = f"  {perf_counter() - started:.1f} s" if invocation.look.laid_out else ""
        print(f"distributed {name}{took}", flush=True)
        started = perf_counter()
        yield name
