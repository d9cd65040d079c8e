"""What becomes of approvals, as it happens: every status they take, told once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias, cast

from perdure.cli.drawing import cells, cut, paint
from perdure.cli.finding import any_or
from perdure.cli.outline import compact
from perdure.cli.terminal import Look
from perdure.errors import NotFoundError
from perdure.records import ALL, Approval, ApprovalStatus
from perdure.store import SyncStore

_PAUSE = 0.2
#: Several processes write, and their clocks may differ.
_LOOK_BACK = timedelta(seconds=10)
_OPEN: tuple[ApprovalStatus, ...] = ("pending", "approved")
_PAGE = 20
_GAP = "  "
_TAIL = 12
_NAMES = ("TIME", "APPROVAL", "STATUS", "TOOL", "FOR", "ARGUMENTS")
_Wide: TypeAlias = tuple[str, int, str]
_FIXED: Sequence[_Wide] = (
    ("TIME", 8, "dim"), ("APPROVAL", _TAIL, "id"), ("STATUS", 9, "state")
)  # fmt: skip


class Whose(NamedTuple):
    """Among whose approvals to look; None: anybody's."""

    app: str | None
    user: str | None
    thread: str | None = None

    def every(
        self, store: SyncStore, status: ApprovalStatus | None, page: int = 200
    ) -> Iterator[Approval]:
        """Theirs, the newest first, fetched so many at a time."""
        within = any_or(self.app)
        owner = ALL if within is ALL else any_or(self.user)
        cursor = None
        while True:
            found = store.approvals.list(
                status=status, app=within, user=owner, thread=self.thread, cursor=cursor, limit=page
            )
            for one in found.items:
                if self.user in {None, one.user}:
                    yield one
            cursor = found.next_cursor
            if cursor is None:
                return


class Change(NamedTuple):
    """A status that an approval took, and when; ``approval`` has that status."""

    at: datetime
    approval: Approval


class Watch:
    """Looks again and again; tells of each status of an approval once.

    Of what is there at the start only what is pending is told.
    """

    def __init__(self, store: SyncStore, whose: Whose) -> None:
        self._store, self._whose = store, whose
        self._told: dict[str, set[str]] = {}
        self._open: set[str] = set()
        self._latest: datetime | None = None

    def changes(self) -> Iterator[Change]:
        """What is pending, then every change, for ever."""
        yield from self._first()
        while True:
            began = time.monotonic()
            found = self._fresh()
            took = time.monotonic() - began
            yield from found
            # A tenth of the time at most, however many there are to look through.
            time.sleep(max(_PAUSE, 9 * took))

    def _first(self) -> Sequence[Change]:
        there = self._look()
        self._told = {one.id: {"pending", one.status} for one in there}
        pending = [Change(one.created_at, one) for one in there if one.status == "pending"]
        return sorted(pending, key=_moment)

    def _fresh(self) -> Sequence[Change]:
        before = self._open
        there = {one.id: one for one in self._look()}
        gone = [self._store.approvals.find(one) for one in before - self._open - set(there)]
        there |= {one.id: one for one in gone if one is not None}
        changes = [change for one in there.values() for change in self._untold(one)]
        # What is closed, and too old to be looked at again, needs no memory.
        kept = self._open | set(there)
        self._told = {one: told for one, told in self._told.items() if one in kept}
        return sorted(changes, key=_moment)

    def _look(self) -> Sequence[Approval]:
        """All that is open, and all that was asked for a short time ago."""
        found: dict[str, Approval] = {}
        for status in _OPEN:
            found |= {one.id: one for one in self._whose.every(self._store, status)}
        self._open = set(found)
        since = None if self._latest is None else self._latest - _LOOK_BACK
        for one in self._whose.every(self._store, None, _PAGE):
            since = since or one.created_at - _LOOK_BACK
            if one.created_at < since:
                break
            # Read last: it may have moved on meanwhile.
            found[one.id] = one
        times = [one.created_at for one in found.values()]
        latest = max([*times, self._latest] if self._latest else times, default=None)
        # What a clock that is fast has written must not hide what others write until then.
        self._latest = latest and min(latest, datetime.now(UTC))
        return list(found.values())

    def _untold(self, one: Approval) -> Iterator[Change]:
        told = self._told.setdefault(one.id, set())
        if one.status in told:
            return
        try:
            steps = self._store.approvals.audit(one.id)
        except NotFoundError:
            return  # Its session was deleted meanwhile.
        moments = [(step.at, step.to_status) for step in steps]
        # What is past its time is expired before anybody has written so.
        moments.append((one.expires_at or one.created_at, one.status))
        for at, status in moments:
            if status not in told:
                told.add(status)
                yield Change(at, replace(one, status=cast("ApprovalStatus", status)))


def _moment(change: Change) -> datetime:
    return change.at


# -- on a terminal -------------------------------------------------------------------------------


def heading(look: Look) -> str:
    """The names of the columns."""
    return _line([(name, width, "dim") for name, width, _ in _columns(look)], _NAMES, look)


def line(change: Change, at: str, look: Look) -> str:
    """A change, in columns that are as wide in every line."""
    one = change.approval
    owner = "/".join(name for name in (one.app, one.user) if name)
    texts = (
        at, short(one.id), one.status, one.tool_name or one.kind, owner, subject(one)
    )  # fmt: skip
    return _line(_columns(look), texts, look)


def subject(one: Approval) -> str:
    """What is to be allowed: the arguments of a tool; of a pause that has none, the question."""
    return compact(one.approved_args) if one.approved_args or not one.question else one.question


def short(approval_id: str) -> str:
    """The end of an id, as people are shown it: its beginning is that of all of a person."""
    return approval_id[-_TAIL:]


def _columns(look: Look) -> Sequence[_Wide]:
    room = look.columns - sum(width + len(_GAP) for _, width, _ in _FIXED) - 2 * len(_GAP)
    tool, owner = max(room // 3, 6), max(room // 4, 6)
    return (
        *_FIXED, ("TOOL", tool, ""), ("FOR", owner, "dim"),
        ("ARGUMENTS", max(room - tool - owner, 6), ""),
    )  # fmt: skip


def _line(columns: Sequence[_Wide], texts: Sequence[str], look: Look) -> str:
    shown = []
    for (_, width, style), text in zip(columns, texts, strict=True):
        words = cut(text, width)
        shown.append(paint(words, style, look) + " " * (width - cells(words)))
    return _GAP.join(shown).rstrip()
