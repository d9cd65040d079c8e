"""What a PostgreSQL server is asked about itself, and what it does about removed rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from perdure.engines.examinations import Examination, Finding
from perdure.errors import PerdureError
from perdure.operation import Bumps, Operation, Plan, Query, Rows, Statement

#: Of removed rows; docs/operations.md says what to do about them.
_REMAINS = (
    "the tables' pages hold removed rows until VACUUM has come by and the space is used again",
    "the server's log, its archive and its standbys hold them until they are recycled",
)
_SETTINGS = Query(
    "settings of the server",
    {
        "postgres": "SELECT name, setting FROM pg_settings WHERE name IN ('server_version', "
        "'synchronous_commit', 'fsync', 'full_page_writes', 'data_checksums') ORDER BY name"
    },
    (),
)
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
        """Whether the server answers, how it is set, and what the operation says."""
        del quick
        found = Examination()
        place = "the server"
        try:
            settings = self.run(Operation("store.examine", (), {}, _settings, reads=True))
            found.facts |= dict(settings)
            found.faults += [
                Finding(place, f"{name} is off: {risk}")
                for name, risk in _RISKS.items()
                if found.facts.get(name) == "off"
            ]
            found.faults += [Finding(place, what) for what in self.run(asking)]
        except PerdureError as error:
            found.faults.append(Finding(place, str(error)))
        return found


def _settings(_: Bumps) -> Plan[Rows]:
    rows: Rows = yield Statement(_SETTINGS, ())
    return rows
