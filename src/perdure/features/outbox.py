"""The outbox: committed facts that others are to be told, stored with what they tell of.

An operation that has something to tell makes its `notes` when it is made, and says ``yield from
notes.tell(part, kind, …)`` in its plan. Without webhooks that is nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from perdure.operation import Operation, Plan, Settings
from perdure.records import SessionKey
from perdure.sql import load
from perdure.values import digest, encode_trusted
from perdure.webhooks import Webhook

OUTBOX = load("perdure.features", "outbox.sql")

#: How long it is tried to tell something: three days, in microseconds.
LIFE = 3 * 86_400_000_000


class Notes(NamedTuple):
    """What one operation tells, to whom; the id of each fact follows from the operation's."""

    hooks: Sequence[Webhook]
    tenant: str
    id: str
    now: int

    def tell(self, part: str, kind: str, **data: Any) -> Plan[None]:
        """Note a fact about what is in this part, for each webhook that wants its kind."""
        wanting = [hook for hook in self.hooks if hook.wants(kind)]
        if not wanting:
            return
        payload = encode_trusted(data)
        fact = digest("fact", self.id, kind, payload)
        for hook in wanting:
            yield OUTBOX.add(
                part=part,
                id=fact,
                hook=id_of(hook),
                kind=kind,
                tenant=self.tenant,
                payload=payload,
                now=self.now,
                expires_at=self.now + LIFE,
            )

    def tell_session(self, part: str, kind: str, key: SessionKey, uid: str) -> Plan[None]:
        """The same about a session."""
        yield from self.tell(part, kind, app=key.app, user=key.user, session=key.id, uid=uid)


def notes(settings: Settings) -> Notes:
    """Where an operation notes what it tells; made when the operation is."""
    if not settings.webhooks:
        return _NONE
    return Notes(settings.webhooks, settings.tenant, settings.ids(), settings.clock())


_NONE = Notes((), "", "", 0)


def id_of(hook: Webhook) -> str:
    """What the rows of a webhook are found by: its URL is kept out of them."""
    return digest("hook", hook.url)


class Due(NamedTuple):
    """A fact that is to be told now."""

    part: str
    id: str
    kind: str
    payload: str
    created_at: int
    attempts: int


def due(hook: Webhook, tenant: str, now: int, limit: int) -> Operation[list[Due]]:
    """What a webhook is to be told now, the oldest first."""

    def work() -> Plan[list[Due]]:
        rows = yield OUTBOX.due(hook=id_of(hook), tenant=tenant, now=now, limit=limit)
        return [Due._make(row) for row in rows]

    return Operation("outbox.due", (), {}, lambda _: work(), reads=True)


def next_due(hooks: Sequence[Webhook], tenant: str, now: int) -> Operation[int | None]:
    """When the next fact is due; None if there is none."""

    def work() -> Plan[int | None]:
        moments = []
        for hook in hooks:
            [(moment,)] = yield OUTBOX.next(hook=id_of(hook), tenant=tenant, now=now)
            moments += [] if moment is None else [moment]
        return min(moments, default=None)

    return Operation("outbox.next", (), {}, lambda _: work(), reads=True)


def told(one: Due, hook: Webhook) -> Operation[None]:
    """The webhook has it."""

    def work() -> Plan[None]:
        yield OUTBOX.told(part=one.part, id=one.id, hook=id_of(hook))

    return Operation("outbox.told", (), {}, lambda _: work())


def failed(one: Due, hook: Webhook, failure: str, due_at: int) -> Operation[None]:
    """The webhook has not got it, and why; when to try again."""

    def work() -> Plan[None]:
        where = {"part": one.part, "id": one.id, "hook": id_of(hook)}
        yield OUTBOX.failed(**where, failure=failure, due_at=due_at)

    return Operation("outbox.failed", (), {}, lambda _: work())
