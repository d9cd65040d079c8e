"""What is measured, by family: the words that ``--rows`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.contest import Options, Row
from bench.rows import (
    adapters,
    append,
    checkpoint,
    jsonl,
    memory,
    postgres,
    processes,
    read,
    startup,
)

FAMILIES: Mapping[str, Callable[[Options], Sequence[Row]]] = {
    "append": lambda options: [*append.rows(options), *postgres.appends()],
    "read": lambda options: [*read.rows(options), *postgres.reads(options)],
    "list": read.lists,
    "checkpoint": checkpoint.rows,
    "jsonl": jsonl.appends,
    "processes": processes.rows,
    "import": startup.rows,
    "memory": memory.rows,
    "adapters": adapters.rows,
}
