"""``perdure worker``: what runs by itself, in a process of its own."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.errors import InvalidError

if TYPE_CHECKING:
    from perdure.store import Store, SyncStore


@click.command("worker", cls=Command)
@click.option(
    "--app",
    metavar="MODULE:STORE",
    help="Take the store of your application, with the functions it was opened with.",
)
@click.option(
    "--retention-days",
    metavar="N",
    type=click.IntRange(min=1),
    help="Also remove sessions that were not written to for N days.",
)
@click.pass_obj
def worker(invocation: Invocation, app: str | None, retention_days: int | None) -> None:
    """Run the workers of a store until SIGTERM or Ctrl-C.

    Any number of processes may: leases decide who does what.
    """
    from perdure.workers import serve  # noqa: PLC0415 - help and completion need none

    invocation.retention_days = retention_days
    with _store(invocation, app) as store, _told_to_stop() as stopping:
        for name in serve(store, stopping):
            invocation.note(name)


@contextmanager
def _store(invocation: Invocation, app: str | None) -> Iterator[Store | SyncStore]:
    if app is None:
        with invocation.store() as store:
            yield store
        return
    if invocation.retention_days is not None:
        raise click.UsageError("the store of --app has its own retention: say it there")
    found = application(app)
    try:
        yield found
    finally:
        found._close()


def application(place: str) -> Store | SyncStore:
    """The store that a module of the application has, or makes when it is called."""
    from perdure.store import Store, SyncStore  # noqa: PLC0415 - help and completion need none

    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise InvalidError(f"--app is MODULE:STORE, not {place!r}", "app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidError(f"--app: there is no {place}: {error}", "app") from error
    if not isinstance(found, Store | SyncStore) and callable(found):
        found = _made(place, found)
    if not isinstance(found, Store | SyncStore):
        raise InvalidError(f"{place} is no store, nor makes one: it is {found!r}", "app")
    return found


def _made(place: str, maker: Callable[..., Any]) -> Any:
    """What the function makes; a usage error if it cannot be called without arguments."""
    from inspect import signature  # noqa: PLC0415 - only for a function

    try:
        signature(maker).bind()
    except TypeError as error:
        message = f"--app: {place} is called without arguments, and needs some: {error}"
        raise click.UsageError(message) from error
    except ValueError:
        pass  # Some that are written in C do not tell.
    return maker()


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    stopping = threading.Event()
    before = {
        sign: signal.signal(sign, lambda *_: stopping.set())
        for sign in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stopping
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
