"""ADK: its own calls, on our store and on its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.contest import Contestant, Options, Row
from bench.peers.adk import AdkDatabase, AdkSqlite
from bench.peers.ours import url_of
from bench.peers.perdure_adk import PerdureAdk
from bench.peers.postgres import AdkPostgres, fresh_url
from bench.rows.append import MANY, by_clients


def rows(_options: Options) -> Sequence[Row]:
    """Appends, on a file and on PostgreSQL."""
    return [*_adk(1, "1 client"), *_adk(MANY, f"{MANY} concurrent")]


def _adk(clients: int, who: str) -> Sequence[Row]:
    """Appends of ADK's events, its objects and their JSON included."""
    return [
        Row("adapters", f"append through ADK, {who}", "append", [
            Contestant("perdure, PerdureSessionService", by_clients(_adk_file, clients), ours=True),
            Contestant("ADK DatabaseSessionService", by_clients(AdkDatabase, clients)),
            Contestant("ADK SqliteSessionService", by_clients(AdkSqlite, clients)),
        ]),
        Row("adapters", f"append through ADK on PostgreSQL, {who}", "append", [
            Contestant(
                "perdure, PerdureSessionService", by_clients(_adk_postgres, clients), ours=True
            ),
            Contestant("ADK DatabaseSessionService", by_clients(AdkPostgres, clients)),
        ]),
    ]  # fmt: skip


def _adk_file(folder: Path) -> PerdureAdk:
    return PerdureAdk(url_of(folder))


def _adk_postgres(_folder: Path) -> PerdureAdk:
    return PerdureAdk(fresh_url())
