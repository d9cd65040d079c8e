"""What is measured, by family: the words that ``--rows`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.contest import Options, Row
from bench.rows import append, memory, processes, read, startup

FAMILIES: Mapping[str, Callable[[Options], Sequence[Row]]] = {
    "append": append.rows,
    "read": read.rows,
    "processes": processes.rows,
    "import": startup.rows,
    "memory": memory.rows,
}
