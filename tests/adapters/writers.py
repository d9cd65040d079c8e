"""Eight processes that write through an adapter at the same time, every other one killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.engines.processes import python

#: More than anybody writes before it is killed.
_ENDLESS = 1_000_000


def eight(script: str, url: str, times: int, *, kill_after: int = 5) -> dict[str, list[str]]:
    """The lines that each has printed, one for each thing it was told is done, by its name.

    The script gets the address, its name (``w0`` to ``w7``) and how often it is to write. It
    prints ``ready`` and reads a line before it begins. Those of even numbers write ``times``
    times; the others go on until they are killed, in the midst of a write as like as not.
    """
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(8))
        writers = [
            stack.enter_context(
                python(script, url, f"w{number}", str(_ENDLESS if number % 2 else times))
            )
            for number in range(8)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        followed = [
            threads.submit(_followed, writer, kill_after if number % 2 else None)
            for number, writer in enumerate(writers)
        ]
        return {f"w{number}": one.result() for number, one in enumerate(followed)}


def _followed(writer: Any, kill_after: int | None) -> list[str]:
    told = []
    for line in writer.stdout:
        told.append(line.decode().strip())
        if len(told) == kill_after:
            writer.kill()
    return told
