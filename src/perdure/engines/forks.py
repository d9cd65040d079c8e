"""Telling engines of a fork, before it and on both sides after it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What an engine does about a fork."""

    @property
    def closed(self) -> bool:
        """Whether there is nothing left that a fork could disturb."""

    def before_fork(self) -> None:
        """Come to rest: a child must not inherit anything in the middle of its work."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Be closed, without touching what the parent still uses."""


_engines: weakref.WeakSet[Forkable] = weakref.WeakSet()
_resting: list[Forkable] = []
#: One thread forks at a time: coming to rest waits, and lets others run.
_forking = threading.Lock()


def watch_forks(engine: Forkable) -> None:
    """Tell this engine of every fork for as long as it lives."""
    _engines.add(engine)


def _before_fork() -> None:
    _forking.acquire()
    _resting.extend(engine for engine in _engines if not engine.closed)
    for engine in _resting:
        engine.before_fork()


def _after_fork_in_parent() -> None:
    while _resting:
        _resting.pop().after_fork_in_parent()
    _forking.release()


def _after_fork_in_child() -> None:
    while _resting:
        _resting.pop().after_fork_in_child()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
