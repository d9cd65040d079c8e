"""``perdure kv``: look at key-values, set and remove them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import click

from perdure.cli import when
from perdure.cli.commands import Group
from perdure.cli.describing import value_document
from perdure.cli.invocation import Invocation
from perdure.cli.lists import Form, first, print_some
from perdure.cli.tables import Column, separated, table
from perdure.errors import AlreadyExistsError, NotFoundError
from perdure.records import JSON, KeyValue, Namespace
from perdure.store import SyncStore
from perdure.values import parse

F = TypeVar("F", bound=Callable[..., Any])

ORDERS = [f"{sign}{name}" for name in ("key", "updated_at", "created_at") for sign in ("", "-")]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COLUMNS = (
    Column("NAMESPACE", "dim", yields=2),
    Column("KEY", "id", yields=3),
    Column("VALUE", yields=4),
    Column("UPDATED", "dim", yields=1, optional=True),
    Column("EXPIRES", "bad", yields=1, optional=True),
)


class NamespaceText(click.ParamType[Namespace]):
    """A namespace: a text as it is, a tuple as a JSON list of texts."""

    name = "namespace"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Namespace:
        """A tuple if it is a JSON list, what stands inside if it is a JSON text."""
        if isinstance(value, tuple):
            return value
        if value[:1] not in {"[", '"'}:
            return str(value)
        try:
            found = json.loads(value)
        except ValueError as error:
            # Taken as a text it would be found empty, and nobody would know why.
            self.fail(f"{value} is no JSON list of texts: {error}", param, ctx)
        if isinstance(found, list) and not all(isinstance(part, str) for part in found):
            self.fail(f"{value} is no list of texts", param, ctx)
        return tuple(found) if isinstance(found, list) else found


class Lifetime(click.ParamType[timedelta]):
    """A length of time as people write it: ``90s``, ``15m``, ``2h``, ``1.5d``."""

    name = "duration"

    def __init__(self, what: str = "time to live") -> None:
        self._what = what

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The time."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*([smhdw])", value.strip().lower())
        if match is None:
            self.fail(f"{value!r} is no {self._what}: write 90s, 15m, 2h or 1.5d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: float(match[1])})


def spelled(namespace: Namespace) -> str:
    """A namespace as it is typed."""
    if isinstance(namespace, tuple):
        return json.dumps(list(namespace), ensure_ascii=False)
    plain = namespace[:1] not in {"[", '"'}
    return namespace if plain else json.dumps(namespace, ensure_ascii=False)


def whose(command: F) -> F:
    """The options that say whose key-values are meant."""
    command = click.option(
        "--user", metavar="USER", default="", help="Of this user (default: the app's own)."
    )(command)
    return click.option(
        "--app", metavar="APP", default="", help="Of this app (default: that of no name)."
    )(command)


def document(found: KeyValue) -> dict[str, Any]:
    """A key-value with every field; bytes as base64, times in UTC."""
    namespace = found.namespace
    return {
        "namespace": list(namespace) if isinstance(namespace, tuple) else namespace,
        "key": found.key,
        "value": value_document(found.value),
        "version": found.version,
        "created_at": when.iso(found.created_at),
        "updated_at": when.iso(found.updated_at),
        "expires_at": when.iso(found.expires_at) if found.expires_at else None,
    }


@click.group(cls=Group)
def kv() -> None:
    """List, show, set and remove key-values.

    A NAMESPACE is a text, or a tuple written as a JSON list: '["users", "ada"]'.
    """


# -- looking ---------------------------------------------------------------------------------


@kv.command("ls")
@click.argument("namespace", type=NamespaceText(), required=False)
@click.option("--prefix", metavar="TEXT", default="", help="Only keys that begin so.")
@whose
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0: all."
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default="key",
    metavar="FIELD",
    show_default=True,
    help="key, updated_at or created_at; - before it turns it round.",
)
@click.pass_obj
def ls(
    invocation: Invocation,
    namespace: Namespace | None,
    prefix: str,
    app: str,
    user: str,
    limit: int,
    order: str,
) -> None:
    """List what is in a NAMESPACE and below it, or in all of them.

    In a pipe: tab-separated namespace, key, value as JSON, version, time of the last change and
    of the end.
    """
    with invocation.store() as store:
        every = store.kv.iter(
            () if namespace is None else namespace,
            app=app, user=user, key_prefix=prefix, order=order,
        )  # fmt: skip
        found = first(every, limit)
    print_some(invocation, found, Form(document, _values, _lay_out), limit)


def _lay_out(invocation: Invocation, found: Sequence[KeyValue]) -> None:
    if not found:
        invocation.note("no key-values")
        return
    rows = [
        (
            spelled(one.namespace),
            one.key,
            _json(one.value),
            when.ago(one.updated_at, invocation.now),
            when.ago(one.expires_at, invocation.now) if one.expires_at else "",
        )
        for one in found
    ]
    invocation.pages(table(_COLUMNS, rows, invocation.look))


def _values(found: KeyValue) -> list[str]:
    return [
        spelled(found.namespace),
        found.key,
        _json(found.value),
        str(found.version),
        when.iso(found.updated_at),
        when.iso(found.expires_at) if found.expires_at else "",
    ]


def _json(value: JSON) -> str:
    return json.dumps(value_document(value), ensure_ascii=False)


@kv.command("get")
@click.argument("namespace", type=NamespaceText())
@click.argument("key")
@whose
@click.pass_obj
def get(invocation: Invocation, namespace: Namespace, key: str, app: str, user: str) -> None:
    """Print the value of a KEY in a NAMESPACE, as JSON."""
    with invocation.store() as store:
        found = store.kv.get(namespace, key, app=app, user=user)
    if invocation.form != "text":
        invocation.document(document(found))
    else:
        invocation.texts([_json(found.value)])


@kv.command("search")
@click.argument("query")
@click.argument("namespace", type=NamespaceText(), required=False)
@whose
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many at most."
)
@click.pass_obj
def search(
    invocation: Invocation,
    query: str,
    namespace: Namespace | None,
    app: str,
    user: str,
    limit: int,
) -> None:
    """Find what answers QUERY, best first, of what was set with --index.

    In a NAMESPACE and below it, or in all of them. In a pipe: as `ls`, with the score at the end.
    """
    with invocation.store() as store:
        hits = store.kv.search(
            query,
            namespace=() if namespace is None else namespace,
            app=app, user=user, limit=limit,
        )  # fmt: skip
    if invocation.form != "text":
        invocation.documents(document(hit.item) | {"score": hit.score} for hit in hits)
    elif invocation.look.laid_out:
        _lay_out(invocation, [hit.item for hit in hits])
    else:
        rows = [[*_values(hit.item), f"{hit.score:.4f}"] for hit in hits]
        invocation.lines(separated(rows))


@kv.command("namespaces")
@click.argument("prefix", type=NamespaceText(), required=False)
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Only the first N parts.")
@whose
@click.pass_obj
def namespaces(
    invocation: Invocation, prefix: Namespace | None, depth: int | None, app: str, user: str
) -> None:
    """Print the namespaces that have a key, one a line; those below a PREFIX, or all."""
    with invocation.store() as store:
        found = list(_namespaces(store, () if prefix is None else prefix, depth, app, user))
    if invocation.form != "text":
        invocation.documents(list(one) if isinstance(one, tuple) else one for one in found)
    else:
        invocation.texts(spelled(one) for one in found)


def _namespaces(
    store: SyncStore, prefix: Namespace, depth: int | None, app: str, user: str
) -> Iterator[Namespace]:
    cursor = None
    while True:
        page = store.kv.namespaces(
            prefix, max_depth=depth, app=app, user=user, cursor=cursor, limit=1000
        )
        yield from page
        cursor = page.next_cursor
        if cursor is None:
            return


# -- changing --------------------------------------------------------------------------------


@kv.command("set")
@click.argument("namespace", type=NamespaceText())
@click.argument("key")
@click.argument("value")
@click.option("--text", is_flag=True, help="The value is a text, not JSON.")
@click.option("--ttl", type=Lifetime(), metavar="TIME", help="How long it stays: 90s, 15m, 2h.")
@click.option("--new", is_flag=True, help="Only if there is none.")
@click.option("--index", metavar="PATH", multiple=True, help="Search it by this; repeatable.")
@whose
@click.pass_obj
def set_(
    invocation: Invocation,
    namespace: Namespace,
    key: str,
    value: str,
    text: bool,
    ttl: timedelta | None,
    new: bool,
    index: tuple[str, ...],
    app: str,
    user: str,
) -> None:
    """Set the VALUE of a KEY in a NAMESPACE: JSON, or - for standard input."""
    words = sys.stdin.read() if value == "-" else value
    content = words if text else parse(words)
    with invocation.store() as store:
        write = store.kv.add if new else store.kv.set
        made = write(namespace, key, content, app=app, user=user, ttl=ttl, index=index)
    if made is None:
        message = f"key {key!r} in {spelled(namespace)} exists: leave out --new to overwrite it"
        raise AlreadyExistsError(message)
    if invocation.form != "text":
        invocation.document(document(made))
    else:
        until = f", until {when.iso(made.expires_at)}" if made.expires_at else ""
        invocation.note(f"{key} is set{until}")


@kv.command("rm")
@click.argument("namespace", type=NamespaceText())
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@whose
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(
    invocation: Invocation,
    namespace: Namespace,
    keys: tuple[str, ...],
    app: str,
    user: str,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove keys of a NAMESPACE for good."""
    with invocation.store() as store:
        found = store.kv.get_many(namespace, keys, app=app, user=user)
        for key in keys:
            if key not in found:
                raise NotFoundError(f"there is no key {key!r} in {spelled(namespace)}")
        if not dry_run:
            named = f"key {keys[0]!r}" if len(found) == 1 else f"{len(found)} keys"
            if not invocation.sure(f"Remove {named} of {spelled(namespace)} for good?", yes=yes):
                raise click.exceptions.Exit(1)
            store.kv.delete_many(namespace, list(found), app=app, user=user)
    if invocation.form != "text":
        invocation.documents(document(one) for one in found.values())
        return
    for key in found:
        invocation.note(f"{key} {'would be removed' if dry_run else 'removed'}")
