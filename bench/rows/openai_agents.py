"""The OpenAI Agents SDK with perdure's session, beside its own ones: items added and read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.contest import Contestant, Options, Row
from bench.peers.openai_agents import OpenAIAlchemy, OpenAIAlchemyPostgres, OpenAISQLite
from bench.peers.ours import url_of
from bench.peers.perdure_openai import PerdureOpenAI
from bench.peers.postgres import fresh_url
from bench.rows.append import MANY, by_clients
from bench.rows.read import LAST, of_peer


def rows(options: Options) -> Sequence[Row]:
    """On a file and on PostgreSQL."""
    history = options.size(660, 60)
    return [*_on_file(history), *_on_postgres(history)]


def _on_file(history: int) -> Sequence[Row]:
    name = "OpenAI Agents: "
    return [
        Row("adapters", f"{name}add_items, 1 client", "call", _adding(1)),
        Row("adapters", f"{name}add_items, {MANY} concurrent", "call", _adding(MANY)),
        Row("adapters", f"{name}get_items, last {LAST} of {history}", "call", [
            Contestant("perdure, PerdureSession", of_peer(_ours, history, LAST), ours=True),
            Contestant("OpenAI SQLiteSession", of_peer(OpenAISQLite, history, LAST)),
            Contestant("OpenAI SQLAlchemySession", of_peer(OpenAIAlchemy.on_file, history, LAST)),
        ], as_time=True),
    ]  # fmt: skip


def _on_postgres(history: int) -> Sequence[Row]:
    name = "OpenAI Agents on PostgreSQL: "
    return [
        Row("adapters", f"{name}add_items, 1 client", "call", _adding_there(1)),
        Row("adapters", f"{name}add_items, {MANY} concurrent", "call", _adding_there(MANY)),
        Row("adapters", f"{name}get_items, last {LAST} of {history}", "call", [
            Contestant(
                "perdure, PerdureSession", of_peer(_ours_there, history, LAST), ours=True
            ),
            Contestant(
                "OpenAI SQLAlchemySession", of_peer(OpenAIAlchemyPostgres, history, LAST)
            ),
        ], as_time=True),
    ]  # fmt: skip


def _adding(clients: int) -> Sequence[Contestant]:
    return [
        Contestant("perdure, PerdureSession", by_clients(_ours, clients), ours=True),
        Contestant("OpenAI SQLiteSession", by_clients(OpenAISQLite, clients)),
        Contestant("OpenAI SQLAlchemySession", by_clients(OpenAIAlchemy.on_file, clients)),
    ]


def _adding_there(clients: int) -> Sequence[Contestant]:
    return [
        Contestant("perdure, PerdureSession", by_clients(_ours_there, clients), ours=True),
        Contestant("OpenAI SQLAlchemySession", by_clients(OpenAIAlchemyPostgres, clients)),
    ]


def _ours(folder: Path) -> PerdureOpenAI:
    return PerdureOpenAI(url_of(folder))


def _ours_there(_folder: Path) -> PerdureOpenAI:
    return PerdureOpenAI(fresh_url())
