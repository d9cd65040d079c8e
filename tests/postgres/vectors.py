"""Stand-ins for what a search uses of pgvector, for it is not in the wheel with the server."""

from __future__ import annotations

from tests.postgres.servers import fetch

_STAND_INS = [
    "CREATE DOMAIN {s}.vector AS REAL[]",
    """
    CREATE FUNCTION {s}.cosine_distance(a {s}.vector, b {s}.vector) RETURNS DOUBLE PRECISION
    LANGUAGE SQL IMMUTABLE AS $$
        SELECT 1 - SUM(x::FLOAT8 * y) / NULLIF(SQRT(SUM(x::FLOAT8 * x) * SUM(y::FLOAT8 * y)), 0)
        FROM UNNEST(a::REAL[], b::REAL[]) AS pairs (x, y)
    $$
    """,
]


def stand_in_for_pgvector(database: str, schema: str = "public") -> None:
    """Put them into that schema, where the store of the same schema finds them."""
    for text in _STAND_INS:
        fetch(database, text.replace("{s}", schema))
