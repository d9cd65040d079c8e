"""Lists of sessions: of a user, of an app, of the tenant, in any order, page after page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from perdure.errors import InvalidError
from perdure.features.cursors import pack, unpack
from perdure.features.describing import Text, key_text, terms
from perdure.features.lookup import SESSIONS, SessionRow, session_of
from perdure.features.scopes import STATE, merge
from perdure.operation import Plan, Rows, Settings
from perdure.parts import place
from perdure.records import ALL, JSON, AllType, Page, Session, SessionKey
from perdure.values import check_text, maybe, to_micros

_ORDERS: Mapping[str, type] = {
    "updated_at": int,
    "created_at": int,
    "last_event_at": int,
    "title": str,
    "id": str,
}


class Wanted(NamedTuple):
    """Which sessions: the scope and the choice of statement, and its parameters."""

    scope: str
    which: str
    params: dict[str, Any]


class Order(NamedTuple):
    """By which column, which way, and behind which session."""

    by: str
    way: str
    after: tuple[Any, str, str] | None


def wanted(
    settings: Settings,
    app: str | AllType,
    user: str | AllType,
    text: str | None,
    tags: Sequence[str],
    metadata: Mapping[str, JSON] | None,
    parent: SessionKey | None,
    updated_after: datetime | None,
    include_deleted: bool,
) -> Wanted:
    """The checked filter of a list or a count."""
    scope, owner = scope_of(settings, app, user)
    check = Text(settings.limits)
    digests = terms(check.tags(tags), check.metadata(metadata or {}))
    params = {
        "owner": owner,
        "now": settings.clock(),
        "updated_after": maybe(lambda at: to_micros(at, "updated_after"), updated_after),
        "parent": key_text(parent, settings.limits.text),
        "text": maybe(_pattern, text),
        "terms": len(digests),
        "digests": " ".join(digests),
    }
    return Wanted(scope, "every" if include_deleted else "live", params)


def scope_of(settings: Settings, app: str | AllType, user: str | AllType) -> tuple[str, str]:
    """Among whose sessions: user, app or tenant, and what names it in the table."""
    limit = settings.limits.text
    if app is ALL:
        if user is not ALL:
            raise InvalidError("a user belongs to an app: name the app as well", "app")
        return "tenant", settings.tenant
    if user is ALL:
        return "app", place(settings.tenant, app, "", limit).app_part
    return "user", place(settings.tenant, app, user, limit).part


def _pattern(text: str) -> str:
    """A LIKE pattern in which every character of the text stands for itself."""
    check_text(text, "text", 4096)
    lowered = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)
    for special in "!%_":
        lowered = lowered.replace(special, "!" + special)
    return f"%{lowered}%"


def order_of(order: str, cursor: str | None) -> Order:
    """The checked order, behind the cursor; `InvalidError`."""
    by = order.removeprefix("-") if isinstance(order, str) else ""
    if by not in _ORDERS:
        raise InvalidError(f"order is one of {list(_ORDERS)}, not {order!r}", "order")
    way = "down" if order.startswith("-") else "up"
    if cursor is None:
        return Order(by, way, None)
    value, session_id, uid = unpack(cursor, f"sessions {order}", _ORDERS[by], str, str)
    return Order(by, way, (value, session_id, uid))


def page(which: Wanted, order: Order, size: int, with_state: bool) -> Plan[Page[Session]]:
    """One page, and the cursor of the next."""
    start = "first" if order.after is None else "next"
    after, after_id, after_uid = order.after or (None, None, None)
    name = "list_stated" if with_state else "list"
    query = SESSIONS.pick(name, which.scope, which.which, order.by, order.way, start)
    found = yield query(
        **which.params, after=after, after_id=after_id, after_uid=after_uid, limit=size + 1
    )
    sessions = (yield from _with_states(found, order)) if with_state else _without(found)
    items = [session_of(row, state) for row, state in sessions[:size]]
    return Page(items, _cursor(order, sessions[size - 1][0]) if len(sessions) > size else None)


Stated = list[tuple[SessionRow, dict[str, Any] | None]]


def _without(found: Rows) -> Stated:
    return [(SessionRow._make(columns), None) for columns in found]


def _with_states(found: Rows, order: Order) -> Plan[Stated]:
    """The sessions in their order, each with the state that its rows and its app's bring."""
    width = len(SessionRow._fields)
    rows = {columns[1]: SessionRow._make(columns[:width]) for columns in found}
    apps: dict[str, Rows] = {}
    for row in rows.values():
        if row.app_part not in apps:
            apps[row.app_part] = yield STATE.of_app(app_part=row.app_part)
    entries: dict[str, list[Any]] = {uid: [*apps[row.app_part]] for uid, row in rows.items()}
    for columns in found:
        if columns[width + 1] is not None:
            entries[columns[1]].append(columns[width:])
    ordered = sorted(rows.values(), key=lambda row: _place(order, row), reverse=order.way == "down")
    return [(row, merge(entries[row.uid])) for row in ordered]


def _place(order: Order, row: SessionRow) -> tuple[Any, str, str]:
    value = getattr(row, order.by)
    return (row.created_at if value is None else value), row.id, row.uid


def _cursor(order: Order, row: SessionRow) -> str:
    sign = "-" if order.way == "down" else ""
    return pack(f"sessions {sign}{order.by}", *_place(order, row))


def count(which: Wanted) -> Plan[int]:
    """How many sessions there are."""
    found = yield SESSIONS.pick("count", which.scope, which.which)(**which.params)
    number: int = found[0][0]
    return number
