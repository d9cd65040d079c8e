"""What a PostgreSQL server is asked about itself, and what it does about removed rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from perdure.engines.examinations import Examination, Finding
from perdure.errors import PerdureError
from perdure.operation import Bumps, Operation, Plan, Rows, Work
from perdure.sql import load

#: Of removed rows; docs/operations.md says what to do about them.
_REMAINS = (
    "the tables' pages hold removed rows until VACUUM has come by and the space is used again",
    "the server's log, its archive and its standbys hold them until they are recycled",
)
_SERVER = load("perdure.engines", "examining.sql")
_PAGE = 1_000
#: More of them tell nothing new.
_MOST = 100
#: What a setting must not be, and what that would mean.
_RISKS = {
    "fsync": "a power cut can destroy the data",
    "full_page_writes": "a power cut can destroy the data",
}


class Upkeep(ABC):
    """What the engine of PostgreSQL offers beyond running operations."""

    @abstractmethod
    def run(self, op: Operation[Any]) -> Any:
        """Run one operation; the engine does."""

    def settle(self, thorough: bool | None) -> list[str]:
        """What a server keeps of removed rows, as sentences: cleaning up is the server's work."""
        del thorough
        return [*_REMAINS]

    def examine(self, asking: Operation[list[str]], quick: bool) -> Examination:
        """Whether the server answers, how it is set, and what the operation says.

        ``quick`` leaves out the look for events without a session.
        """
        found = Examination()
        place = "the server"
        try:
            found.facts |= dict(self._asked(_settings))
            found.faults += [
                Finding(place, f"{name} is off: {risk}")
                for name, risk in _RISKS.items()
                if found.facts.get(name) == "off"
            ]
            lacking = self.run(asking)
            found.faults += [Finding(place, what) for what in lacking]
            if not (quick or lacking):
                found.faults += [Finding(place, what) for what in self._lost()]
        except PerdureError as error:
            found.faults.append(Finding(place, str(error)))
        return found

    def _lost(self) -> list[str]:
        """Events whose session is gone, as sentences: a page of sessions in one statement."""
        lost: list[str] = []
        part = uid = ""
        while len(lost) < _MOST:
            page = self._asked(partial(_sessions_of_events, part, uid))
            lost += [
                f"the session of the events of part {part!r} and uid {uid!r} is gone: "
                "restore a backup, or remove these events"
                for part, uid, is_there in page
                if not is_there
            ]
            if len(page) < _PAGE:
                break
            part, uid, _ = page[-1]
        return lost[:_MOST]

    def _asked(self, work: Work[Rows]) -> Rows:
        rows: Rows = self.run(Operation("store.examine", (), {}, work, reads=True))
        return rows


def _settings(_: Bumps) -> Plan[Rows]:
    return (yield _SERVER.settings())


def _sessions_of_events(part: str, uid: str, _: Bumps) -> Plan[Rows]:
    return (yield _SERVER.sessions_of_events(part=part, uid=uid, limit=_PAGE))
