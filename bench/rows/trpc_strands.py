"""trpc-agent and strands: their own calls, on our store and on their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.contest import Contestant, Options, Row
from bench.peers.ours import url_of
from bench.peers.postgres import fresh_url
from bench.peers.strands_agents import PerdureStrands, StrandsFiles
from bench.peers.trpc_agent import PerdureTrpc, TrpcPostgres, TrpcSql
from bench.rows.append import MANY, by_clients


def rows(_options: Options) -> Sequence[Row]:
    """Appends, on a file and on PostgreSQL. Of its own, strands has files alone."""
    return [*_appends(1, "1 client"), *_appends(MANY, f"{MANY} concurrent")]


def _appends(clients: int, who: str) -> Sequence[Row]:
    return [
        Row("adapters", f"append through trpc-agent, {who}", "append", [
            Contestant(
                "perdure, PerdureSessionService", by_clients(_trpc_file, clients), ours=True
            ),
            Contestant("trpc-agent SqlSessionService", by_clients(TrpcSql, clients)),
        ]),
        Row("adapters", f"append through trpc-agent on PostgreSQL, {who}", "append", [
            Contestant(
                "perdure, PerdureSessionService", by_clients(_trpc_postgres, clients), ours=True
            ),
            Contestant("trpc-agent SqlSessionService", by_clients(TrpcPostgres, clients)),
        ]),
        Row("adapters", f"append through strands, {who}", "append", [
            Contestant(
                "perdure, PerdureSessionRepository", by_clients(_strands_file, clients), ours=True
            ),
            Contestant("strands FileSessionManager", by_clients(StrandsFiles, clients)),
        ]),
    ]  # fmt: skip


def _trpc_file(folder: Path) -> PerdureTrpc:
    return PerdureTrpc(url_of(folder))


def _trpc_postgres(_folder: Path) -> PerdureTrpc:
    return PerdureTrpc(fresh_url())


def _strands_file(folder: Path) -> PerdureStrands:
    return PerdureStrands(url_of(folder))
