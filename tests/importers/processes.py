"""Imports that run in processes of their own, at the same time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import perdure
from perdure import ALL, SessionKey
from tests.cli.command import _MAIN, environment, spawn
from tests.importers.claw import Claw, said

_SESSIONS, _MESSAGES = 40, 12


def every_message_is_stored_once(url: str, folder: Path) -> None:
    """Have two processes import the same folder twice over, and look at what is stored."""
    talk = said(*map(str, range(_MESSAGES)))
    claws = [Claw(folder, f"chat:{number}").add(*talk) for number in range(_SESSIONS)]
    _import_in_two(url, folder)
    for claw in claws:
        claw.truncate(4, summary="They counted.").compact().add(*said("more"))
    _import_in_two(url, folder)

    last = spawn(url, "import", "picoclaw", str(folder))

    assert (last.code, last.out.splitlines()[0]) == (0, "imported 0 new sessions, 0 new events")
    assert "\n!" not in f"\n{last.err}"
    with perdure.open_sync(url) as store:
        assert store.sessions.count(ALL) == _SESSIONS
        for claw in claws:
            events = store.events.read(SessionKey("", "", claw.meta["key"]))
            assert [event.content for event in events] == [*talk, *said("more")]
            shown = store.history().get_history(claw.meta["key"])
            assert shown == [*talk[-4:], *said("more")]


def a_killed_import_goes_on(url: str, folder: Path) -> None:
    """Kill imports again and again, a little later each time; then let one end."""
    talk = said(*map(str, range(_MESSAGES)))
    keys = [f"chat:{number}" for number in range(200)]
    for key in keys:
        Claw(folder, key).add(*talk).truncate(4, summary="They counted.")
    command = [sys.executable, "-c", _MAIN, "import", "picoclaw", str(folder)]
    killed = 0
    for tenth in range(8, 30, 5):
        running = subprocess.Popen(command, env=environment(url), stdout=subprocess.DEVNULL)
        try:
            running.wait(tenth / 10)
        except subprocess.TimeoutExpired:
            running.kill()
            killed += 1
        running.wait()

    assert killed
    assert spawn(url, "import", "picoclaw", str(folder)).code == 0
    with perdure.open_sync(url) as store:
        view = store.history()
        for key in keys:
            events = store.events.read(SessionKey("", "", key))
            assert [event.content for event in events] == talk
            assert view.get_history(key) == talk[-4:]
            assert view.get_summary(key) == "They counted."


def _import_in_two(url: str, folder: Path) -> None:
    def one(_: int) -> int:
        return spawn(url, "import", "picoclaw", str(folder)).code

    with ThreadPoolExecutor(2) as pool:
        # Who comes second leaves what the first is just storing, and says so.
        codes = list(pool.map(one, range(2)))
    assert set(codes) <= {0, 4}, codes
