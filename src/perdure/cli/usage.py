"""``perdure usage``: what models were paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from perdure.cli import when
from perdure.cli.commands import Command
from perdure.cli.finding import any_or
from perdure.cli.invocation import Invocation
from perdure.cli.tables import Column, separated, table
from perdure.records import Usage

_NUMBERS = ("events", "input_tokens", "output_tokens", "total_tokens", "cached_tokens")


@click.command("usage", cls=Command)
@click.option("--app", metavar="APP", help="Only of this app.")
@click.option("--user", metavar="USER", help="Only of this user of the app.")
@click.option(
    "--by",
    metavar="NAMES",
    default="user,model,day",
    show_default=True,
    help="Groups: app, user, session, author, run_id, model, day, month; '' is one sum.",
)
@click.option("--since", metavar="TIME", help="Only since: 2h, 3d, yesterday, an ISO time.")
@click.option("--until", metavar="TIME", help="Only before that time.")
@click.option("--deleted", is_flag=True, help="Also of deleted and expired sessions.")
@click.pass_obj
def usage(
    invocation: Invocation,
    app: str | None,
    user: str | None,
    by: str,
    since: str | None,
    until: str | None,
    deleted: bool,
) -> None:
    """Sum the tokens that events say they took.

    In a pipe: tab-separated groups, then events, input, output, total and cached tokens.
    """
    groups = [name.strip() for name in by.split(",") if name.strip()]
    moments = [
        when.since(one, invocation.now, invocation.zone) if one else None for one in (since, until)
    ]
    with invocation.store() as store:
        found = store.usage(
            groups,
            app=any_or(app),
            user=any_or(user),
            after=moments[0],
            before=moments[1],
            include_deleted=deleted,
        )
    if invocation.form != "text":
        invocation.documents(_document(one, groups) for one in found)
    elif not invocation.look.laid_out:
        invocation.lines(separated([_values(one, groups, "d") for one in found]))
    elif found:
        names = [Column(name.upper(), "id", yields=2) for name in groups]
        sums = [
            Column(name.partition("_")[0].upper(), right=True, optional=name == "cached_tokens")
            for name in _NUMBERS
        ]
        rows = [_values(one, groups, ",") for one in found]
        invocation.pages(table([*names, *sums], rows, invocation.look))
    else:
        invocation.note("no event says what it took")


def _document(one: Usage, groups: Sequence[str]) -> dict[str, Any]:
    fields = asdict(one)
    return {name: fields[name] for name in (*groups, *_NUMBERS)}


def _values(one: Usage, groups: Sequence[str], form: str) -> list[str]:
    names = [str(getattr(one, name)) for name in groups]
    return [*names, *(format(getattr(one, name), form) for name in _NUMBERS)]
