"""LangGraph with perdure's saver, beside its own ones: the same graph's steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bench.contest import Contestant, Options, Row, Setup
from bench.peers.langgraph import Adapter, PostgresSaver, SqliteSaver
from bench.rows.checkpoint import MANY, Make, reading, stepping


def rows(options: Options) -> Sequence[Row]:
    """On a file and on PostgreSQL."""
    return [
        *_rows(options, "", Adapter.on_file, SqliteSaver, "AsyncSqliteSaver"),
        *_rows(options, " on PostgreSQL", Adapter.on_postgres, PostgresSaver, "AsyncPostgresSaver"),
    ]


def _rows(options: Options, where: str, ours: Make, peer: Make, name: str) -> Sequence[Row]:
    steps = options.size(640, 30)

    def row(what: str, unit: str, of: Callable[[Make], Setup], **how: bool) -> Row:
        contestants = [
            Contestant("perdure, PerdureSaver", of(ours), ours=True),
            Contestant(f"LangGraph {name}", of(peer)),
        ]
        return Row("adapters", f"LangGraph: {what}{where}", unit, contestants, **how)

    return [
        row("put and put_writes, 1 client", "step", partial(stepping, 1)),
        row(f"put and put_writes, {MANY} concurrent", "step", partial(stepping, MANY)),
        row(f"latest of {steps} checkpoints", "read", partial(reading, steps, whole=False),
            as_time=True),
        row(f"list of {steps} checkpoints", "read", partial(reading, steps, whole=True),
            as_time=True),
    ]  # fmt: skip
