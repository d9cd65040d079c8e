"""What an import did, counted while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure.importers.conversation import Conversation, Remark, Skipped


@dataclass(frozen=True, slots=True)
class Changed:
    """A conversation that is stored with other messages than the file has now.

    It was left as it is stored. ``positions`` are the messages that differ (none: both went on,
    each its own way), ``held_back`` how many new ones were therefore not added: a mixture would
    be a conversation that nobody had. ``reason`` is for what these do not say.
    """

    source: str
    line: int
    conversation: str
    positions: tuple[int, ...]
    held_back: int = 0
    reason: str = ""

    def __str__(self) -> str:
        what = self.reason or "it was continued in the store"
        if self.positions:
            numbers = ", ".join(map(str, self.positions))
            what = f"message{'s' * (len(self.positions) > 1)} {numbers} changed, kept as stored"
        new = f"; {self.held_back} new not added" if self.held_back else ""
        return f"{self.source}:{self.line}: conversation {self.conversation!r}: {what}{new}"


@dataclass(slots=True)
class ImportReport:
    """What an import did, or with ``dry_run`` would do.

    Every conversation is new, known, changed, denied or skipped. ``events_known`` are messages
    that are stored already and equal, ``events_removed`` those that were stored once, were
    removed since, and are not brought back. ``denied`` conversations are new ones of a user
    who was erased. ``remarks`` tell of what was imported, but not quite as one might expect.
    """

    dry_run: bool = False
    sessions_new: int = 0
    sessions_known: int = 0
    events_new: int = 0
    events_known: int = 0
    events_removed: int = 0
    denied: int = 0
    changed: list[Changed] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    @property
    def events_changed(self) -> int:
        """How many messages differ from what is stored."""
        return sum(len(one.positions) for one in self.changed)

    @property
    def complete(self) -> bool:
        """Whether the store now has everything as the files have it."""
        return not (self.denied or self.changed or self.skipped)

    def skip(self, conversation: Conversation, reason: str) -> None:
        """Count a conversation that could be read and not be stored."""
        one = conversation
        self.skipped.append(Skipped(one.source, one.line, reason, one.id, one.size))

    def leave(self, conversation: Conversation, reason: str, held_back: int) -> None:
        """Count a conversation that is left as it is stored."""
        one = conversation
        self.changed.append(Changed(one.source, one.line, one.id, (), held_back, reason))
