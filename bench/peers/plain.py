"""Lines of JSON in a plain file, with nothing around them: no index, no versions, no state."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from bench.workload import delta_of, message_of, user_of


class PlainLines:
    """Appends a line for each event and syncs, for so many of them at a time.

    ``encoding``: whether the lines are made anew each time, or written as they were made once.
    """

    def __init__(self, folder: Path, batch: int, *, encoding: bool) -> None:
        self._batch = batch
        self._encoding = encoding
        path = folder / "events.jsonl"
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._once = self._lines(0)
        self.settings = "fdatasync"

    def _lines(self, number: int) -> bytes:
        return b"".join(
            msgspec.json.encode(
                {
                    "user_id": user_of(session),
                    "seq": number,
                    "content": message_of(number),
                    "state_delta": delta_of(number),
                }
            )
            + b"\n"
            for session in range(self._batch)
        )

    def commit(self, number: int) -> None:
        """One batch."""
        os.write(self._file, self._lines(number) if self._encoding else self._once)
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close."""
        os.close(self._file)
