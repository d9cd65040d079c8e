"""``perdure checkpoints``: the steps of graphs, and what changed from one to another."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.drawing import draw
from perdure.cli.invocation import Invocation
from perdure.cli.lists import Form, first, print_some
from perdure.cli.opaque import opaque_document, shown
from perdure.cli.outline import outline
from perdure.cli.tables import Column, table
from perdure.errors import NotFoundError
from perdure.records import ALL, Checkpoint, CheckpointNode, CheckpointTuple, Lineage, Opaque
from perdure.store import SyncStore

F = TypeVar("F", bound=Callable[..., Any])
#: How a stored value is told.
Told: TypeAlias = Callable[[Any], Any]

_LINEAGES = (
    Column("LINEAGE", "id", yields=2),
    Column("CHECKPOINTS", right=True),
    Column("BYTES", right=True),
    Column("LAST WRITE", "dim"),
)
_STEPS = (
    Column("CHECKPOINT", "id", yields=2),
    Column("NUMBER", right=True),
    Column("NAMESPACE", "dim", yields=3, optional=True),
    Column("SOURCE", "dim", optional=True),
    Column("STEP", right=True),
    Column("PUT", "dim"),
)
_namespace = click.option(
    "--namespace", metavar="NAME", default="", help="In this namespace (default: the outer one)."
)
_limit = click.option(
    "-n", "--limit", type=click.IntRange(min=0), default=50, show_default=True, metavar="N",
    help="So many at most; 0: all.",
)  # fmt: skip


@click.group(cls=Group)
def checkpoints() -> None:
    """List, show, compare and prune the checkpoints of graphs."""


@checkpoints.command("ls")
@click.argument("lineage", required=False)
@_limit
@click.pass_obj
def ls(invocation: Invocation, lineage: str | None, limit: int) -> None:
    """List lineages, or with a LINEAGE its checkpoints, the newest first.

    In a pipe: tab-separated lineage, checkpoints, bytes and time; or checkpoint, number,
    namespace, source, step and time.
    """
    with invocation.store() as store:
        if lineage is None:
            print_some(invocation, first(_lineages(store), limit), _LINEAGE_FORM, limit)
        else:
            print_some(invocation, _steps(store, lineage, limit), _STEP_FORM, limit)


@checkpoints.command("tree")
@click.argument("lineage")
@click.pass_obj
def tree(invocation: Invocation, lineage: str) -> None:
    """Show which checkpoint follows which: branches hang below what they begin at."""
    with invocation.store() as store:
        nodes = store.checkpoints.tree(lineage)
    if not nodes:
        raise _unknown(lineage)
    if invocation.form != "text":
        invocation.documents(_node(one) for one in nodes)
    else:
        invocation.texts(_drawn(nodes))


@checkpoints.command("show")
@click.argument("lineage")
@click.argument("checkpoint", required=False)
@_namespace
@click.option("--channels", metavar="NAMES", help="Only these, with commas between; '' for none.")
@click.pass_obj
def show(
    invocation: Invocation,
    lineage: str,
    checkpoint: str | None,
    namespace: str,
    channels: str | None,
) -> None:
    """Show a checkpoint (without an id: the latest) with its channels and writes."""
    names = None if channels is None else [name for name in channels.split(",") if name]
    with invocation.store() as store:
        found = store.checkpoints.get_tuple(
            lineage, checkpoint, namespace=namespace, channels=names
        )
    look = invocation.look
    if invocation.form != "text":
        invocation.document(_document(found, _whole))
    elif look.laid_out:
        told = _for_people(_document(found, shown))
        told["created_at"] = when.exact(found.checkpoint.created_at, invocation.zone)
        invocation.pages(draw(outline(told, look.columns), look))
    else:
        invocation.texts(_laid_out(_document(found, shown)))


@checkpoints.command("diff")
@click.argument("lineage")
@click.argument("one")
@click.argument("other")
@_namespace
@click.pass_obj
def diff(invocation: Invocation, lineage: str, one: str, other: str, namespace: str) -> None:
    """Show what changed from ONE checkpoint to an OTHER: metadata, payload and channels."""
    with invocation.store() as store:
        before, after = (
            store.checkpoints.get(lineage, name, namespace=namespace) for name in (one, other)
        )
    told = shown if invocation.form == "text" else _whole
    changes = list(_changes(before, after, told))
    if invocation.form != "text":
        invocation.documents(changes)
    elif changes:
        invocation.texts(line for change in changes for line in _shown(change))
    else:
        invocation.note("nothing changed")


@checkpoints.command("prune")
@click.argument("lineage")
@click.option("--keep-last", metavar="N", type=click.IntRange(min=0), help="Keep the last N.")
@click.option("--older-than", metavar="TIME", help="Only what is older: 30d, 12h, 2026-05-20.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(
    invocation: Invocation,
    lineage: str,
    keep_last: int | None,
    older_than: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove the oldest checkpoints of each namespace of a lineage for good.

    What stays loads as before. With both options what either keeps is kept.
    """
    if keep_last is None and older_than is None:
        raise click.UsageError("say what goes: --keep-last, --older-than or both")
    age = _age(invocation, older_than)
    with invocation.store() as store:
        _steps(store, lineage, 1)
        found = store.checkpoints.prune(lineage, keep_last=keep_last, older_than=age, dry_run=True)
        if not dry_run and found.checkpoints:
            question = f"Remove {found.checkpoints:,} checkpoints of {lineage} for good?"
            if not invocation.sure(question, yes=yes):
                raise click.exceptions.Exit(1)
            found = store.checkpoints.prune(lineage, keep_last=keep_last, older_than=age)
    if invocation.form != "text":
        document = {
            "checkpoints": found.checkpoints, "values": found.values, "writes": found.writes,
            "bytes": found.bytes,
        }  # fmt: skip
        invocation.document({"lineage": lineage, **document})
    else:
        verb = "would be removed" if dry_run else "removed"
        invocation.note(f"{found.checkpoints:,} checkpoints, {found.bytes:,} bytes {verb}")


def _age(invocation: Invocation, older_than: str | None) -> timedelta | None:
    if older_than is None:
        return None
    age = invocation.now - when.since(older_than, invocation.now, invocation.zone)
    if age <= timedelta(0):
        raise click.UsageError(f"--older-than {older_than} is not in the past")
    return age


def _steps(store: SyncStore, lineage: str, limit: int) -> Sequence[Checkpoint]:
    """The newest checkpoints of a lineage; `NotFoundError` if it has none."""
    every = store.checkpoints.iter(lineage, namespace=ALL, channels=(), writes=False)
    found = first((one.checkpoint for one in every), limit)
    if not found:
        raise _unknown(lineage)
    return found


def _unknown(lineage: str) -> NotFoundError:
    return NotFoundError(f"there is no lineage {lineage!r}: see `perdure checkpoints ls`")


# -- lists -----------------------------------------------------------------------------------


def _lineages(store: SyncStore) -> Iterator[Lineage]:
    cursor = None
    while True:
        page = store.checkpoints.lineages(cursor=cursor)
        yield from page
        cursor = page.next_cursor
        if cursor is None:
            return


def _lineage_document(one: Lineage) -> dict[str, Any]:
    return {
        "lineage": one.lineage,
        "namespaces": one.namespaces,
        "checkpoints": one.checkpoints,
        "bytes": one.bytes,
        "created_at": when.iso(one.created_at),
        "updated_at": when.iso(one.updated_at),
    }


def _lineage_values(one: Lineage) -> list[str]:
    return [one.lineage, str(one.checkpoints), str(one.bytes), when.iso(one.updated_at)]


def _lay_out_lineages(invocation: Invocation, found: Sequence[Lineage]) -> None:
    if not found:
        invocation.note("no lineages")
        return
    rows = [
        (
            one.lineage,
            f"{one.checkpoints:,}",
            f"{one.bytes:,}",
            when.ago(one.updated_at, invocation.now),
        )
        for one in found
    ]
    invocation.pages(table(_LINEAGES, rows, invocation.look))


_LINEAGE_FORM = Form(_lineage_document, _lineage_values, _lay_out_lineages)


def _lay_out_steps(invocation: Invocation, found: Sequence[Checkpoint]) -> None:
    rows = [_values(one, when.ago(one.created_at, invocation.now)) for one in found]
    invocation.pages(table(_STEPS, rows, invocation.look))


def _values(one: Checkpoint, put: str) -> list[str]:
    source, step = one.metadata.get("source", ""), one.metadata.get("step", "")
    return [one.id, str(one.number), one.key.namespace, str(source), str(step), put]


# -- one of them -----------------------------------------------------------------------------


def _whole(value: Any) -> Any:
    """A value for programs: nothing of an `Opaque` is lost."""
    return opaque_document(value) if isinstance(value, Opaque) else value


def _head(one: Checkpoint) -> dict[str, Any]:
    return {
        "lineage": one.key.lineage,
        "namespace": one.key.namespace,
        "id": one.id,
        "number": one.number,
        "parent": None if one.parent is None else list(one.parent[1:]),
        "metadata": one.metadata,
        "created_at": when.iso(one.created_at),
    }


_STEP_FORM = Form(_head, lambda one: _values(one, when.iso(one.created_at)), _lay_out_steps)


def _document(found: CheckpointTuple, told: Told) -> dict[str, Any]:
    one = found.checkpoint
    return {
        **_head(one),
        "payload": told(one.payload),
        "versions": one.versions,
        "values": {name: told(value) for name, value in one.values.items()},
        "writes": [
            {
                "task_path": write.task_path,
                "task": write.task,
                "index": write.index,
                "channel": write.channel,
                "value": told(write.value),
            }
            for write in found.writes
        ],
    }


def _for_people(document: dict[str, Any]) -> dict[str, Any]:
    """What is in the channels, then all else; of what is empty only the names."""
    versions, values = document.pop("versions"), document.pop("values")
    payload, writes = document.pop("payload"), document.pop("writes")
    empty = [name for name in versions if name not in values]
    told = {**document, "channels": values, "not shown, or empty": empty, "writes": writes}
    return {name: one for name, one in {**told, "payload": payload}.items() if one or one == 0}


def _laid_out(document: dict[str, Any]) -> Iterator[str]:
    """Each field on a line, the channels and writes below."""
    for name, value in document.items():
        if name not in {"versions", "values", "writes"}:
            yield f"{name}: {value if isinstance(value, str) else _json(value)}"
    for name, version in document["versions"].items():
        value = document["values"].get(name)
        spelled = _json(value) if name in document["values"] else "(not shown, or empty)"
        yield f"channel {name} at {version}: {spelled}"
    for write in document["writes"]:
        yield f"write {write['task']} {write['index']} {write['channel']}: {_json(write['value'])}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- the tree --------------------------------------------------------------------------------


def _node(one: CheckpointNode) -> dict[str, Any]:
    return {
        "namespace": one.key.namespace,
        "id": one.key.id,
        "number": one.number,
        "parent": None if one.parent is None else list(one.parent[1:]),
        "children": [list(key[1:]) for key in one.children],
        "metadata": one.metadata,
        "created_at": when.iso(one.created_at),
    }


def _drawn(nodes: Sequence[CheckpointNode]) -> Iterator[str]:
    """A line is one below the other; where it divides, each branch hangs on a stroke of its own."""
    by_key = {node.key: node for node in nodes}
    roots = [node for node in nodes if node.parent not in by_key]
    drawn: set[Any] = set()
    # What follows itself has no root: it is drawn from its first one.
    for root in (*roots, *nodes):
        waiting = [(root, "", "")] if root.key not in drawn else []
        while waiting:
            node, first, rest = waiting.pop()
            if node.key in drawn:
                continue
            drawn.add(node.key)
            below = [by_key[key] for key in node.children if key in by_key]
            yield f"{first}{_label(node)}{'' if below else '  head'}"
            waiting += reversed(list(_hung(below, rest)))


def _hung(nodes: Sequence[CheckpointNode], rest: str) -> Iterator[tuple[CheckpointNode, str, str]]:
    """What follows a checkpoint, with what stands before it, and before what follows that."""
    if len(nodes) == 1:
        yield nodes[0], rest, rest
        return
    for node in nodes:
        last = node is nodes[-1]
        yield node, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")


def _label(node: CheckpointNode) -> str:
    where = f" [{node.key.namespace}]" if node.key.namespace else ""
    source = node.metadata.get("source")
    step = node.metadata.get("step")
    told = "" if source is None else f"  {source}"
    return f"{node.key.id}{where}{told}{'' if step is None else f' {step}'}"


# -- what changed ----------------------------------------------------------------------------


def _changes(before: Checkpoint, after: Checkpoint, told: Told) -> Iterator[dict[str, Any]]:
    """What is not equal, by name: both sides, None for what is not there."""
    for name in ("metadata", "payload"):
        ours, theirs = told(getattr(before, name)), told(getattr(after, name))
        if _lines(ours) != _lines(theirs):
            yield {"what": name, "before": ours, "after": theirs}
    for name in sorted({*before.versions, *after.versions}):
        sides = [_channel(one, name, told) for one in (before, after)]
        if sides[0] != sides[1]:
            yield {"what": "channel", "channel": name, "before": sides[0], "after": sides[1]}


def _channel(one: Checkpoint, name: str, told: Told) -> dict[str, Any] | None:
    if name not in one.versions:
        return None
    side: dict[str, Any] = {"version": one.versions[name]}
    if name in one.values:
        side["value"] = told(one.values[name])
    return side


def _shown(change: dict[str, Any]) -> Iterable[str]:
    name = change.get("channel", change["what"])
    ours, theirs = _lines(change["before"]), _lines(change["after"])
    yield f"{'channel ' if 'channel' in change else ''}{name}"
    for line in difflib.unified_diff(ours, theirs, lineterm="", n=2):
        if not line.startswith(("---", "+++")):
            yield f"  {line}"


def _lines(value: Any) -> list[str]:
    return json.dumps(value, ensure_ascii=False, indent=1).splitlines()
