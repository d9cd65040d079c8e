"""Real processes for tests.

A clean process imports the test module and forks one child a call, before any store is open
there: that costs one start for any number of processes, and nothing of pytest's own process (its
threads, its open stores) comes along. It is itself forked from one that has imported perdure and
done nothing: an interpreter's start and the imports take longer than what most of them do.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[2]

_SERVE = "from tests.engines.processes import serve; serve()"
_FORK = multiprocessing.get_context("fork") if sys.platform != "win32" else None
#: Each process of pytest has one that forks for it, and does nothing else; started when needed.
_CLEAN = multiprocessing.get_context("forkserver") if sys.platform != "win32" else None
if _CLEAN is not None:
    _CLEAN.set_forkserver_preload(["asyncpg", "perdure.store", "pytest", __name__])
_barrier: Barrier | None = None


def side_by_side(
    work: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    *,
    under: Sequence[str] = (),
    seconds: float = 90,
) -> list[T]:
    """What ``work`` returns for each of the calls, each in a process of its own, all at once.

    ``work`` is a function of a module; `meet` waits in it for all others. ``under`` is a
    command to run it under. If one fails its traceback is raised here.
    """
    order = pickle.dumps((work.__module__, work.__qualname__, list(calls)))
    try:
        told = _told_under(under, order, seconds) if under else _told_by_a_fork(order, seconds)
    except TimeoutError:
        raise AssertionError(f"{work.__qualname__} hangs") from None
    results: list[T] = []
    for failure, value in pickle.loads(told):
        assert not failure, failure
        results.append(value)
    return results


def _told_under(under: Sequence[str], order: bytes, seconds: float) -> bytes:
    with started([*under, sys.executable, "-c", _SERVE]) as server:
        try:
            told, complaints = server.communicate(order, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
    assert server.returncode == 0, complaints.decode()
    return told


def _told_by_a_fork(order: bytes, seconds: float) -> bytes:
    assert _CLEAN is not None
    mine, theirs = _CLEAN.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile() as complaints:
        server = _CLEAN.Process(
            target=_serve_pipe, args=(theirs, order, complaints.name, dict(os.environ))
        )
        server.start()
        assert server.pid is not None
        theirs.close()
        try:
            if not mine.poll(seconds):
                raise TimeoutError
            told = mine.recv_bytes()
            server.join(10)
        except EOFError:
            raise AssertionError(complaints.read().decode()) from None
        finally:
            mine.close()
            _kill_group(server.pid)
            server.kill()
            server.join()
            server.close()
    return told


def _serve_pipe(
    told: Connection, order: bytes, complaints: str, environment: dict[str, str]
) -> None:
    """Do what is ordered; in the fork of the clean process."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    out = os.open(complaints, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    told.send_bytes(_served(order))


def in_a_process(
    work: Callable[..., T], *args: Any, under: Sequence[str] = (), seconds: float = 90
) -> T:
    """What ``work`` returns in one process of its own."""
    [result] = side_by_side(work, [args], under=under, seconds=seconds)
    return result


def meet() -> None:
    """Wait until all the processes of this call are here."""
    assert _barrier is not None
    _barrier.wait(60)


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, which ends with the block, and all that it started with it."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            _kill_group(process.pid)


def _kill_group(leader: int) -> None:
    # Its own process group, so nobody else's; a stopped process is killed as well.
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@contextmanager
def python(script: str, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that talks through its standard streams, as long as the block runs."""
    with started([sys.executable, "-c", script, *args]) as process:
        yield process


def ran(script: str, *args: str, seconds: float = 60) -> list[str]:
    """The lines that a Python program prints; it must end well, and in time."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def serve() -> None:
    """Do what comes on standard input; in a clean interpreter that runs under something."""
    told = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(told, "wb") as out:
        out.write(_served(sys.stdin.buffer.read()))


def _served(order: bytes) -> bytes:
    """The outcomes of all calls, each in a child."""
    global _barrier  # noqa: PLW0603 - inherited by the forked children
    module, name, calls = pickle.loads(order)
    work: Callable[..., Any] = getattr(import_module(module), name)
    assert _FORK is not None
    _barrier = _FORK.Barrier(len(calls))
    children = []
    for call in calls:
        mine, theirs = _FORK.Pipe(duplex=False)
        child = _FORK.Process(target=_work, args=(theirs, work, call))
        child.start()
        theirs.close()
        children.append((child, mine))
    outcomes = [_outcome(mine) for _, mine in children]
    for child, _ in children:
        child.join()
    return pickle.dumps(outcomes)


def _work(out: Connection, work: Callable[..., Any], call: tuple[Any, ...]) -> None:
    try:
        outcome = ("", work(*call))
    except BaseException:  # noqa: BLE001 - it is raised in the test
        outcome = (traceback.format_exc(), None)
    out.send(outcome)
    out.close()


def _outcome(out: Connection) -> tuple[str, Any]:
    try:
        failure, value = out.recv()
    except EOFError:
        return "the process died without a word", None
    return failure, value
