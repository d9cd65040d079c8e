"""Imports that run in processes of their own, at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import perdure
from perdure import ALL, SessionKey
from tests.cli.command import spawn
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


def _import_in_two(url: str, folder: Path) -> None:
    def one(_: int) -> int:
        return spawn(url, "import", "picoclaw", str(folder)).code

    with ThreadPoolExecutor(2) as pool:
        # Who comes second leaves what the first is just storing, and says so.
        codes = list(pool.map(one, range(2)))
    assert set(codes) <= {0, 4}, codes
