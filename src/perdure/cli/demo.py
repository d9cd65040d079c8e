"""``perdure demo``: a store at work, in a file that stays for you to play with."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from shutil import which

import click

from perdure import __version__
from perdure.cli.commands import Command
from perdure.cli.drawing import Span, painted
from perdure.cli.importing import summary
from perdure.cli.invocation import Invocation
from perdure.cli.listing import lay_out
from perdure.cli.showing import Extent, show_session
from perdure.cli.terminal import Look
from perdure.errors import PerdureError, StaleSessionError
from perdure.importers import ImportReport, load_sync, read_chat
from perdure.opening import open_sync
from perdure.records import NewEvent, SessionKey
from perdure.store import SyncStore

_APP, _USER = "demo", "ada"
_SHOWN = SessionKey(_APP, _USER, "late-parcel")
_CHANGED = SessionKey(_APP, _USER, "flaky-test")
_KILLED = "written by a process that was killed right after"
_WIDEST = 100
_NEXT = (
    ("perdure show weekend-in-lisbon", "two tools at once, and one that fails"),
    ("perdure show flaky --last 2", "the beginning of an id is enough"),
    ("perdure show late-parcel --json", "everything, for programs"),
    ("perdure search parcel --app demo", "who spoke of it, in all sessions"),
    ("perdure memory add demo ada 'Likes tea.'", "beyond one conversation"),
    ("perdure tail -f", "watch events come in"),
    ("perdure import chat FILE --app my", "conversations of your own"),
)
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

# Runs in a process of its own, which does not live to say good-bye.
_VICTIM = """
import os, sys, perdure
url, app, user, session, words, kill = sys.argv[1:]
store = perdure.open_sync(url)
store.events.append(perdure.SessionKey(app, user, session), {"role": "user", "content": words})
os.kill(os.getpid(), int(kill))
"""


@click.command("demo", cls=Command)
@click.pass_obj
def demo(invocation: Invocation) -> None:
    """See a store at work: import, look, crash, retry. Takes a second and needs nothing."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-demo-"))
    width = min(invocation.look.columns, _WIDEST)
    invocation.look = Look(True, invocation.look.color, width)
    invocation.form, invocation.no_pager = "text", True
    _Demo(folder / "demo.db", invocation).run()


class _Demo:
    def __init__(self, file: Path, invocation: Invocation) -> None:
        self._url = f"sqlite:///{file}"
        self._invocation = invocation
        self._step = 0

    def run(self) -> None:
        self._print(("perdure ", "bold"), (__version__, "bold"), (", with a new file:", ""))
        self._print((self._url, "id"))
        with open_sync(self._url) as store:
            self._import(store)
            self._list(store)
            self._show(store)
        self._prove()
        self._next()

    # -- what it looks like --------------------------------------------------------------------

    def _import(self, store: SyncStore) -> None:
        self._heading("Three conversations come in", "import chat sample.jsonl")
        started = time.perf_counter()
        report = _imported(store)
        took = time.perf_counter() - started
        for line in summary(report):
            self._print((f"{line}, in {took * 1000:.0f} ms", ""))

    def _list(self, store: SyncStore) -> None:
        self._heading("They are sessions now", "ls")
        found = list(store.sessions.iter(_APP, _USER, order="-last_event_at"))
        lay_out(self._invocation, found)

    def _show(self, store: SyncStore) -> None:
        self._heading("One of them, from beginning to end", f"show {_SHOWN.id}")
        extent = Extent(last=None, all_lines=False, full=False)
        show_session(self._invocation, store, store.sessions.get(_SHOWN), extent)

    # -- what it promises ----------------------------------------------------------------------

    def _prove(self) -> None:
        self._heading("What is stored stays stored", "")
        with open_sync(self._url) as store:
            events = sum(session.event_count for session in store.sessions.iter())
            self._proof("closed and opened again", f"all {events} events are there", events)
            again = _imported(store)
            new = again.events_new
            self._proof("imported a second time", f"{new} new: a retry doubles nothing", not new)
            self._stale(store)
            self._kill(store)

    def _stale(self, store: SyncStore) -> None:
        one = store.session(*_CHANGED)
        other = store.session(*_CHANGED)
        one.append(NewEvent("The test is green.", author="user"))
        try:
            other.append(NewEvent("Never to be stored.", author="user"))
            refused = False
        except StaleSessionError:
            refused = True
        self._proof("two writers, one version", "the slower one is refused, nothing lost", refused)

    def _kill(self, store: SyncStore) -> None:
        arguments = (self._url, *_CHANGED, _KILLED, str(int(_KILL)))
        subprocess.run([sys.executable, "-c", _VICTIM, *arguments], check=False)  # noqa: S603
        [last] = store.events.read(_CHANGED, recent=1)
        self._proof("a writer dies by kill -9", "what it wrote is there", last.text == _KILLED)

    def _proof(self, what: str, result: str, holds: object) -> None:
        if not holds:
            raise PerdureError(f"{what}: this did not go as it should; the file is {self._url}")
        self._print(("✓ ", "good"), (f"{what:<26}", ""), (result, "dim"))

    # -- what next -----------------------------------------------------------------------------

    def _next(self) -> None:
        self._heading("Your turn", "")
        self._print((f"export PERDURE_URL={self._url}", "key"))
        folder = Path(sys.argv[0]).parent
        if which("perdure") is None and folder.joinpath("perdure").exists():
            # Called by its path, from an environment that is not activated.
            self._print((f'export PATH="{folder.resolve()}:$PATH"', "key"))
        for command, why in _NEXT:
            self._print((f"{command:<42}", "key"), (why, "dim"))

    # -- printing ------------------------------------------------------------------------------

    def _heading(self, words: str, command: str) -> None:
        self._step += 1
        print()
        self._print((f"{self._step}  ", "dim"), (words, "heading"))
        if command:
            self._print(("   $ ", "dim"), (f"perdure {command}", "key"))
        print()

    def _print(self, *spans: Span) -> None:
        print(painted(spans, self._invocation.look), flush=True)


def _imported(store: SyncStore) -> ImportReport:
    text = files("perdure.cli").joinpath("sample.jsonl").read_text(encoding="utf-8")
    sample = [("sample.jsonl", text.splitlines())]
    return load_sync(store, read_chat(sample), app=_APP, user=_USER)
