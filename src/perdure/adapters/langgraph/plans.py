"""What takes more than one call of the store, told once for both colours.

A plan yields the calls that are to be made of ``store.checkpoints``, and gets what they return;
what it has for the caller it yields as `Found`. No plan holds anything between two calls.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.adapters.langgraph.decoding import unpacked
from perdure.adapters.langgraph.encoding import (
    Config,
    is_json,
    pending,
    tuple_of,
    where,
)
from perdure.errors import InvalidError, NotFoundError
from perdure.records import ALL, CheckpointKey, CheckpointNode, CheckpointTuple
from perdure.values import decode, encode

#: So many checkpoints are read at a time.
_PAGE = 100


class Call(NamedTuple):
    """A method of ``store.checkpoints`` with its arguments."""

    method: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]


class Found(NamedTuple):
    """Some of what the caller asked for."""

    items: list[Any]


Plan = Generator[Call | Found, Any, Any]


def call(method: str, *args: Any, **options: Any) -> Call:
    """The call of that method."""
    return Call(method, args, options)


# -- lists -----------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A list as it was asked for."""

    config: Config | None
    filter: Mapping[str, Any]
    before: str | None
    limit: int | None
    order: str
    #: Keys of the metadata that the store can read; None: all that are JSON.
    clear: Sequence[str] | None


def listed(asked: Asked, serde: Any) -> Plan:
    """The checkpoints that were asked for, newest first; values are as they are stored."""
    left = asked.limit
    query = _query(asked)
    if query is None:
        return
    pages = _one(asked) if _id(asked) else _pages(asked, query)
    rest = {key: value for key, value in asked.filter.items() if key not in query["filter"]}
    step = next(pages, None)
    while step is not None and (left is None or left > 0):
        if isinstance(step, Call):
            step = yield from _answered(pages, step)
            continue
        some = [tuple_of(serde, item) for item in step.items if _behind(asked, item.key.id)]
        # Whoever brought it may hold on to it. While values are decoded the garbage collector
        # goes through all that is there, again and again.
        step.items.clear()
        found = [one for one in some if matches(one.metadata, rest)][:left]
        if left is not None:
            left -= len(found)
        yield Found(found)
        step = next(pages, None)


def _answered(pages: Plan, step: Call) -> Plan:
    """The next step of one who is told what comes of this one; None at the end."""
    try:
        try:
            result = yield step
        except NotFoundError as error:
            return pages.throw(error)
        return pages.send(result)
    except StopIteration:
        return None


def _id(asked: Asked) -> str | None:
    return where(asked.config).id if asked.config else None


def _query(asked: Asked) -> dict[str, Any] | None:
    """The options of `checkpoints.list`; None if nothing can be found."""
    if asked.limit is not None and asked.limit <= 0:
        return None
    readable = {
        key: value
        for key, value in asked.filter.items()
        if (asked.clear is None or key in asked.clear) and is_json(value)
    }
    # What is left is looked at here, after the limit of a page: then pages are whole.
    size = _PAGE if asked.limit is None or len(readable) < len(asked.filter) else asked.limit
    namespace: Any = ALL
    lineage: Any = ALL
    if asked.config is not None:
        at = where(asked.config)
        lineage = at.lineage
        if asked.config["configurable"].get("checkpoint_ns") is not None:
            namespace = at.namespace
    return {
        "lineage": lineage,
        "namespace": namespace,
        "filter": readable,
        "order": asked.order,
        "limit": min(size, _PAGE),
    }


def _one(asked: Asked) -> Plan:
    """The checkpoint that is named, in each namespace that has it."""
    query = _query(asked) or {}
    at = where(asked.config or {})
    spaces = [query["namespace"]]
    if spaces == [ALL]:
        nodes = yield call("tree", at.lineage)
        spaces = [node.key.namespace for node in nodes if node.key.id == at.id]
    for namespace in spaces:
        found = yield call("find_tuple", at.lineage, at.id, namespace=namespace)
        if found is None or not matches(found.metadata, query["filter"]):
            continue
        if asked.before is None or found.key.id < asked.before:
            yield Found([found])


def _pages(asked: Asked, query: Mapping[str, Any]) -> Plan:
    options = dict(query)
    lineage = options.pop("lineage")
    known = asked.before
    cursor = None
    while True:
        try:
            page = yield call("list", lineage, **options, before=known, cursor=cursor)
        except NotFoundError:
            # LangGraph compares ids: the one that is named need not be there.
            known = None
            continue
        yield Found(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _behind(asked: Asked, id: str) -> bool:
    by_id = asked.before is not None and asked.order == "id"
    return not by_id or id < str(asked.before)


def matches(metadata: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Whether the metadata has an equal value under each key; missing is not None."""
    return all(key in metadata and same(metadata[key], value) for key, value in filter.items())


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, or equal and of one type."""
    if is_json(one) and is_json(other):
        return bool(_plain(one) == _plain(other))
    return type(one) is type(other) and bool(one == other)


def _plain(value: Any) -> Any:
    text = encode(value, "filter", 2**62)
    return _told_apart(decode(text, "a filter"))


def _told_apart(value: Any) -> Any:
    # In Python True == 1, in JSON it is not.
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return [_told_apart(item) for item in value]
    if isinstance(value, dict):
        return {key: _told_apart(item) for key, item in value.items()}
    return value


# -- channels that are kept as what was written to them --------------------------------------


_SEED = "channel {0!r} of checkpoint {1.id!r}"


def history(config: Config, channels: Sequence[str], order: str, serde: Any) -> Plan:
    """For each channel what was written before the checkpoint, and the value that began with."""
    writes: dict[str, list[Any]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    open_ = set(channels)
    at = where(config)
    of = {"namespace": at.namespace, "channels": list(channels)}
    target = yield call("find_tuple", at.lineage, at.id, order=order, **of)
    key = None if target is None else target.checkpoint.parent
    chain = _Chain(at.lineage, at.namespace, list(channels))
    while key is not None and open_:
        found = yield from chain.at(key)
        if found is None:
            break
        for write in reversed(found.writes):
            if write.channel in open_:
                writes[write.channel].append(pending(serde, write))
        for channel in open_ & found.checkpoint.values.keys():
            value = found.checkpoint.values[channel]
            seeds[channel] = unpacked(serde, value, _SEED, channel, found.key)
            open_.discard(channel)
        key = found.checkpoint.parent
    return {
        channel: {"writes": some[::-1], **({"seed": seeds[channel]} if channel in seeds else {})}
        for channel, some in writes.items()
    }


class _Chain:
    """Follows parents: pages of what was put before, and what is not in them by its key."""

    def __init__(self, lineage: str, namespace: str, channels: list[str]) -> None:
        self._lineage = lineage
        self._options = {"namespace": namespace, "channels": channels}
        self._known: dict[CheckpointKey, CheckpointTuple] = {}
        self._seen: set[CheckpointKey] = set()

    def at(self, key: CheckpointKey) -> Plan:
        """The checkpoint, once: a chain that comes round ends there."""
        if key in self._seen:
            return None
        self._seen.add(key)
        if key not in self._known:
            yield from self._load(key)
        return self._known.pop(key, None)

    def _load(self, key: CheckpointKey) -> Plan:
        options = {**self._options, "namespace": key.namespace}
        found = yield call("find_tuple", key.lineage, key.id, **options)
        if found is None:
            return
        # Its ancestors are most often those that were put before it.
        page = yield call("list", key.lineage, **options, before=key.id, order="put", limit=_PAGE)
        self._known = {one.key: one for one in page.items}
        self._known[key] = found


# -- pruning ---------------------------------------------------------------------------------


def pruned(lineage: str, order: str) -> Plan:
    """Remove all but the newest checkpoint of each namespace, and what the store keeps for it."""
    nodes: Sequence[CheckpointNode] = yield call("tree", lineage)
    heads: dict[str, CheckpointNode] = {}
    for node in nodes:
        head = heads.get(node.key.namespace)
        if head is None or _rank(node, order) > _rank(head, order):
            heads[node.key.namespace] = node
    gone = {node.key for node in nodes} - {head.key for head in heads.values()}
    yield call("prune", lineage, keep_last=0, only=gone)


def _rank(node: CheckpointNode, order: str) -> Any:
    return node.key.id if order == "id" else node.number


def strategy_of(strategy: str) -> str:
    """One of the two strategies; `InvalidError`."""
    if strategy not in {"keep_latest", "delete"}:
        raise InvalidError(f"strategy is 'keep_latest' or 'delete', not {strategy!r}", "strategy")
    return strategy


__all__ = ["Asked", "Call", "Found", "Plan", "call", "history", "listed", "pruned", "strategy_of"]
