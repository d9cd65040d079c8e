"""Stores that are made just before the power is cut."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import perdure
from tests.faults.mounts import Disk
from tests.faults.writing import ONE


def first_words_after(cuts: int, folder: str, url: str) -> list[list[str]]:
    """Make a store in a new folder, append, cut: what is there after each of the cuts.

    ``url`` has ``{place}`` where that folder is to stand.
    """
    disk = Disk(Path(folder))
    found = []
    for number in range(cuts):
        with disk.running() as mounted:
            made = url.format(place=mounted / f"new {number}" / "folder")
            pid = os.fork()
            if pid == 0:
                store = perdure.open_sync(made)
                store.sessions.create(*ONE)
                store.events.append(ONE, "the first words")
                os.kill(os.getpid(), signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            disk.cut_power()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        with disk.running(), perdure.open_sync(made) as store:
            there = store.sessions.find(ONE) is not None
            found.append([str(e.content) for e in store.events.read(ONE)] if there else [])
    return found
