"""``perdure du``: how much is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.cli.tables import Column, separated, table
from perdure.cli.upkeep import readable
from perdure.records import DiskUse, Size


@click.command("du", cls=Command)
@click.option(
    "--by",
    metavar="NAMES",
    default="app,table",
    show_default=True,
    help="Groups: app, user, table; '' is one sum.",
)
@click.option(
    "--days",
    type=click.IntRange(min=0),
    metavar="N",
    default=30,
    show_default=True,
    help="Growth of so many days; 0: none.",
)
@click.pass_obj
def du(invocation: Invocation, by: str, days: int) -> None:
    """Show how much is stored, the largest first, and what each day has added.

    Bytes are what the columns hold. In a pipe: tab-separated groups, rows and bytes.
    """
    groups = [name.strip() for name in by.split(",") if name.strip()]
    with invocation.store() as store:
        use = store.du(groups, days=days)
    if invocation.form != "text":
        invocation.document(_document(use, groups))
    elif invocation.look.laid_out:
        _lay_out(invocation, use, groups)
    else:
        rows = [[*_names(one, groups), str(one.rows), str(one.bytes)] for one in use.sizes]
        invocation.lines(separated(rows))


def _lay_out(invocation: Invocation, use: DiskUse, groups: Sequence[str]) -> None:
    columns = [Column(name.upper(), "id", yields=2) for name in groups]
    numbers = [Column("ROWS", right=True), Column("BYTES", right=True)]
    rows = [
        (*_names(one, groups), f"{one.rows:,}", readable(one.bytes))
        for one in [*use.sizes, _total(use)]
    ]
    lines = list(table([*columns, *numbers], rows, invocation.look))
    if use.growth:
        days = [(one.day, f"{one.rows:,}", readable(one.bytes)) for one in use.growth]
        lines += ["", *table([Column("DAY", "dim"), *numbers], days, invocation.look)]
    lines += ["", f"{readable(use.stored)} on the disk of the database"]
    invocation.pages(lines)


def _total(use: DiskUse) -> Size:
    return Size(None, None, None, sum(one.rows for one in use.sizes), use.bytes)


def _names(one: Size, groups: Sequence[str]) -> list[str]:
    return [str(getattr(one, name) or "") for name in groups]


def _document(use: DiskUse, groups: Sequence[str]) -> dict[str, Any]:
    names = (*groups, "rows", "bytes")
    return {
        "bytes": use.bytes,
        "stored": use.stored,
        "sizes": [{name: getattr(one, name) for name in names} for one in use.sizes],
        "growth": [asdict(one) for one in use.growth],
    }
