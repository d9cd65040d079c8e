"""Pages of checkpoints: what is asked for, where the next page begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.errors import InvalidError, NotFoundError
from perdure.features.checkpoint_bodies import CHECKPOINTS, Body, namespace_key
from perdure.features.checkpoint_drafts import check_id, check_namespace
from perdure.features.checkpoint_reads import (
    LAST_ID,
    LAST_NUMBER,
    CheckpointRow,
    Read,
    Wanted,
    read,
    tuples,
)
from perdure.features.cursors import pack, unpack
from perdure.features.filters import equal
from perdure.operation import Plan, Settings
from perdure.parts import lineage_part
from perdure.records import ALL, JSON, AllType, CheckpointTuple, Page
from perdure.values import check_text, decode, encode

#: How many are looked through at a time where only some are wanted.
_LOOKED_AT = 1_000


class Where(NamedTuple):
    """A place in the order of a list: what is behind it comes next."""

    lineage: str
    namespace: str
    number: int
    id: str

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of a page."""
        return {
            "after_lineage": self.lineage,
            "after": self.namespace,
            "below": self.number,
            "below_id": self.id,
        }


class ListQuery(NamedTuple):
    """A checked call."""

    wanted: Wanted
    filter: Mapping[str, JSON]
    before: str | None
    start: Where
    kind: str
    order: str


def check_order(order: str) -> str:
    """One of the two orders."""
    if order not in {"put", "id"}:
        raise InvalidError(f"order is 'put' or 'id', not {order!r}", "order")
    return order


def check_channels(settings: Settings, channels: Sequence[str] | None) -> Collection[str] | None:
    """The channels whose values are wanted."""
    if channels is None:
        return None
    if isinstance(channels, str):
        raise InvalidError(f"channels is a list of names, not the text {channels!r}", "channels")
    return {check_text(name, "channel", settings.limits.text) for name in channels}


def query(
    settings: Settings,
    lineage: str | AllType,
    namespace: str | AllType,
    *,
    before: str | None,
    filter: Mapping[str, JSON] | None,
    order: str,
    channels: Sequence[str] | None,
    writes: bool,
    cursor: str | None,
) -> ListQuery:
    """The checked call of a list; `InvalidError`."""
    check_order(order)
    values: dict[str, Any] = {"tenant": settings.tenant}
    scope = "tenant"
    if lineage is not ALL:
        values["part"] = lineage_part(settings.tenant, lineage, settings.limits.text)
        scope = "lineage"
    if namespace is not ALL:
        values["namespace"] = check_namespace(settings, namespace)
        values["ns"] = namespace_key(values["namespace"])
        scope = "one" if scope == "lineage" else "same"
    kind = f"checkpoints {scope} {order}"
    start = Where("", "", LAST_NUMBER, LAST_ID)
    if cursor is not None:
        start = Where(*unpack(cursor, kind, str, str, int, str))
    wanted = Wanted(f"{scope}_{order}", values, check_channels(settings, channels), writes)
    return ListQuery(
        wanted,
        _filter(filter, settings),
        None if before is None else check_id(settings, before),
        start,
        kind,
        order,
    )


def _filter(given: Mapping[str, JSON] | None, settings: Settings) -> dict[str, JSON]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidError(f"a filter maps keys of metadata to values, not {given!r}", "filter")
    # A copy in plain JSON: what the caller changes later changes nothing here.
    copy: dict[str, JSON] = decode(encode(dict(given), "filter", settings.limits.state), "a filter")
    return copy


def page(asked: ListQuery, size: int, settings: Settings) -> Plan[Page[CheckpointTuple]]:
    """The page that begins behind the place that is asked for."""
    start = asked.start
    # A cursor stands behind what was asked to be before already.
    first = start.number == LAST_NUMBER and start.id == LAST_ID
    if asked.before is not None and first:
        start = yield from _before(asked)
    found: list[tuple[CheckpointRow, Body]] = []
    writes: dict[tuple[str, str, str], Any] = {}
    step = max(size + 1, _LOOKED_AT) if asked.filter else size + 1
    while len(found) <= size:
        wanted = asked.wanted._replace(values={**asked.wanted.values, **start.values})
        some = yield from read(wanted, step, settings.cache)
        found += [
            (row, body)
            for row, body in zip(some.rows, some.bodies, strict=True)
            if _matches(body, asked.filter)
        ]
        writes.update(some.writes)
        if len(some.rows) < step:
            break
        start = _place(some.rows[-1])
    shown = Read([row for row, _ in found[:size]], [body for _, body in found[:size]], writes)
    items = yield from tuples(shown, asked.wanted, settings.cache)
    more = pack(asked.kind, *_place(shown.rows[-1])) if len(found) > size else None
    return Page(items, more)


def _place(row: CheckpointRow) -> Where:
    return Where(row.lineage, row.namespace, row.number, row.id)


def _matches(body: Body, filter: Mapping[str, JSON]) -> bool:
    metadata = body.metadata
    return all(key in metadata and equal(metadata[key], value) for key, value in filter.items())


def _before(asked: ListQuery) -> Plan[Where]:
    """The place of the checkpoint that is named."""
    values = {**asked.wanted.values, "id": asked.before, "limit": 1}
    scope = asked.kind.split()[1]
    found = CHECKPOINTS.pick("where", scope)
    rows = yield found.among(values)
    if not rows:
        raise NotFoundError(f"before: no checkpoint {asked.before!r} there")
    return Where(*rows[0])
