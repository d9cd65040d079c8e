"""Sessions that the index has only in part: their files were damaged when it was made.

Who reads such a session must not take its beginning for all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from perdure.engines.jsonl import disk
from perdure.engines.jsonl.paths import LACKING
from perdure.errors import CorruptError
from perdure.operation import Bumps, Operation, Plan, Statement, Work

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


def read(folder: str) -> dict[str, str]:
    """What is wrong with the files of such sessions, by the uids of these."""
    try:
        with open(os.path.join(folder, LACKING), "rb") as file:
            return _decode(file.read())
    except FileNotFoundError:
        return {}


def write(folder: str, found: Mapping[str, str]) -> None:
    """Note it beside the index, for all processes that read there."""
    if found != read(folder):
        disk.replace(os.path.join(folder, LACKING), _encode(found))


class Lacking:
    """What a reading process knows of it; looked up again when it was changed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, LACKING)
        self._seen = 0
        self._found: dict[str, str] = {}

    def guarded(self, op: Operation[Any]) -> Operation[Any]:
        """The operation; if there are such sessions, one that raises `CorruptError` for them."""
        try:
            seen = os.stat(self._path).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            # Of a folder that is a file the engine tells when it opens it.
            return op
        if seen != self._seen:
            self._found, self._seen = read(self._folder), seen
        if not self._found:
            return op
        of_one = op.of_session and bool(op.args) and isinstance(op.args[0], tuple | list)
        return replace(op, work=_refusing(op.work, self._found, of_one))


def _refusing(work: Work[Any], found: Mapping[str, str], of_one: bool) -> Work[Any]:
    """Work that asks for no row of such a session; ``of_one``: it is about one session."""

    def plan(bumps: Bumps) -> Plan[Any]:
        steps = work(bumps)
        rows: Any = None
        try:
            while True:
                step = steps.send(rows)
                if isinstance(step, Statement):
                    args: Any = step.args
                    _refuse(args.values() if isinstance(args, Mapping) else args, found)
                rows = yield step
                for row in rows if of_one else ():
                    # The row of the session itself may say that there is nothing to ask for.
                    _refuse(row, found)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    return plan


def _refuse(values: Iterable[Any], found: Mapping[str, str]) -> None:
    for value in values:
        if isinstance(value, str) and value in found:
            raise CorruptError(
                f"{found[value]}; what followed is not in the index, so the session cannot be "
                "read: see `perdure doctor`"
            )
