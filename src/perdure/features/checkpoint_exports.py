"""Checkpoints in an export: as a reader of it can use them, not as they are stored."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from perdure.features import checkpoint_lists as lists
from perdure.features.checkpoint_bodies import CHECKPOINTS
from perdure.operation import Plan, Settings
from perdure.records import ALL, CheckpointTuple, Opaque
from perdure.values import encode_trusted, to_micros

_PAGE = 20


def linked_to(owner_part: str) -> Plan[list[str]]:
    """The lineages of a person."""
    found = yield CHECKPOINTS.links(owner=owner_part, uid=None)
    return sorted({lineage for _, _, lineage in found})


def exported(settings: Settings, lineage: str, cursor: str) -> Plan[tuple[list[str], str | None]]:
    """Some lines of a lineage, and where the next ones begin."""
    query = lists.query(
        settings, lineage, ALL, before=None, filter=None, order="put", channels=None, writes=True,
        cursor=cursor or None,
    )  # fmt: skip
    page = yield from lists.page(query, _PAGE, settings)
    return [encode_trusted({"table": "checkpoints", "row": _row(one)}) for one in page.items], (
        page.next_cursor
    )


def _row(found: CheckpointTuple) -> dict[str, Any]:
    one = found.checkpoint
    return {
        "lineage": one.key.lineage,
        "namespace": one.key.namespace,
        "id": one.key.id,
        "number": one.number,
        "parent": list(one.parent[1:]) if one.parent else None,
        "metadata": one.metadata,
        "payload": _plain(one.payload),
        "versions": one.versions,
        "values": {name: _plain(value) for name, value in one.values.items()},
        "created_at": to_micros(one.created_at, "created_at"),
        "writes": [
            {
                "task_path": write.task_path,
                "task": write.task,
                "index": write.index,
                "channel": write.channel,
                "value": _plain(write.value),
            }
            for write in found.writes
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Opaque):
        return {"codec": value.codec, "data": b64encode(value.data).decode()}
    return value
