"""``perdure search``: what answers a question, over everything of a user or an app."""

from __future__ import annotations

from typing import Any

import click

from perdure.cli import when
from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.cli.tables import Column, separated, table
from perdure.records import ALL, SearchHit

_COLUMNS = (
    Column("KIND", "dim"),
    Column("USER", "dim", yields=3, optional=True),
    Column("SESSION", "id", yields=2),
    Column("SEQ", right=True, optional=True),
    Column("WHEN", "dim", optional=True),
    Column("TEXT", yields=1),
)


@click.command("search", cls=Command)
@click.argument("query")
@click.option("--app", metavar="APP", required=True, help="In this app.")
@click.option("--user", metavar="USER", help="Only of this user; without it of all, more slowly.")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help="Only this kind; repeatable.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many at most."
)
@click.pass_obj
def search(
    invocation: Invocation,
    query: str,
    app: str,
    user: str | None,
    kinds: tuple[str, ...],
    limit: int,
) -> None:
    """Find what answers a query, best first.

    In a pipe: tab-separated kind, app, user, session, key, seq, score, time, a piece of the text.
    """
    with invocation.store() as store:
        hits = store.search(
            app, ALL if user is None else user, query, kinds=kinds or None, limit=limit
        )
    if invocation.form != "text":
        invocation.documents(_document(hit) for hit in hits)
    elif not invocation.look.laid_out:
        invocation.lines(separated([_values(hit) for hit in hits]))
    elif hits:
        rows = [_row(invocation, hit) for hit in hits]
        invocation.pages(table(_COLUMNS, rows, invocation.look))
    else:
        invocation.note("nothing was found")


def _document(hit: SearchHit) -> dict[str, Any]:
    return {
        "kind": hit.kind,
        "key": hit.key,
        "app": hit.app,
        "user": hit.user,
        "session": hit.session.id if hit.session else None,
        "seq": hit.seq,
        "at": when.iso(hit.at),
        "snippet": hit.snippet,
        "marks": [list(mark) for mark in hit.marks],
        "score": hit.score,
        "parts": dict(hit.parts),
    }


def _row(invocation: Invocation, hit: SearchHit) -> tuple[str, ...]:
    return (
        hit.kind,
        hit.user,
        hit.session.id if hit.session else hit.key,
        str(hit.seq or ""),
        when.ago(hit.at, invocation.now),
        " ".join(hit.snippet.split()),
    )


def _values(hit: SearchHit) -> list[str]:
    return [
        hit.kind,
        hit.app,
        hit.user,
        hit.session.id if hit.session else "",
        hit.key,
        str(hit.seq or ""),
        f"{hit.score:.4f}",
        when.iso(hit.at),
        hit.snippet,
    ]
