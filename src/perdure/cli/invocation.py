"""One run of the command: what was asked for everywhere, the store, and where words go."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.clean import clean, clean_json
from perdure.cli.drawing import paint
from perdure.cli.terminal import Look, look_of
from perdure.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from perdure.config import Config, Resolved
    from perdure.store import SyncStore

_SQLITE = "sqlite:///"
_JSONL = "jsonl:///"
#: A directory that is one of perdure's has one of them, whatever else was lost.
_OF_A_DIRECTORY = ("perdure.json", "journal.jsonl")


@dataclass
class Invocation:
    """The options that every command has, and what follows from them."""

    url: str | None = None
    tenant: str | None = None
    form: str = "text"
    no_color: bool = False
    no_pager: bool = False
    quiet: bool = False
    verbose: bool = False
    retention_days: int | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    # -- the store -----------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """How to open the store."""
        from perdure.config import Config  # noqa: PLC0415 - help and completion need no store

        retention = None
        if self.retention_days is not None:
            from perdure.retention import RetentionConfig  # noqa: PLC0415 - the same

            retention = RetentionConfig(retention_days=self.retention_days)
        return Config(url=self.url, tenant=self.tenant, retention=retention)

    @cached_property
    def resolved(self) -> Resolved:
        """The same with what the environment says."""
        from perdure.config import resolve  # noqa: PLC0415 - help and completion need no store

        return resolve(self.config)

    @property
    def file(self) -> Path | None:
        """The file of the store, or its folder, if it is one."""
        url = self.resolved.url
        for scheme in (_SQLITE, _JSONL):
            if url.startswith(scheme):
                return Path(url.removeprefix(scheme))
        return None

    @property
    def is_there(self) -> bool:
        """Whether there is a store: a server is asked by who wants something of it."""
        file = self.file
        if file is None:
            return True
        if self.resolved.url.startswith(_JSONL):
            return any((file / name).exists() for name in _OF_A_DIRECTORY)
        return file.exists()

    def check_there(self) -> None:
        """`NotFoundError` for a file that is not there: looking at it must not make it."""
        if not self.is_there:
            hint = "`perdure import chat FILE` makes one, `perdure demo` shows one"
            if not (self.url or os.environ.get("PERDURE_URL")):
                # It is the default that is not there: who has a store has to name it.
                hint = f"name yours with --url sqlite:///file.db or PERDURE_URL; {hint}"
            raise NotFoundError(f"there is no store at {self.resolved.display_url}: {hint}")

    @contextmanager
    def store(self, *, create: bool = False) -> Iterator[SyncStore]:
        """The store, opened."""
        from perdure.opening import open_sync  # noqa: PLC0415 - help and completion need no store

        if not create:
            self.check_there()
        if self.verbose:
            self.note(f"store {self.resolved.display_url}")
        with open_sync(self.config) as store:
            yield store

    # -- what is shown -------------------------------------------------------------------------

    @cached_property
    def look(self) -> Look:
        """What standard output can show."""
        return look_of(sys.stdout, os.environ, no_color=self.no_color)

    @cached_property
    def zone(self) -> tzinfo | None:
        """The zone times are shown in: ``PERDURE_TIMEZONE``, else the machine's (None)."""
        name = os.environ.get("PERDURE_TIMEZONE")
        return zone_of(name) if name else None

    def lines(self, lines: Iterable[str]) -> None:
        """Data, line by line, fit to be shown."""
        for line in lines:
            print(line)

    def texts(self, texts: Iterable[str]) -> None:
        """Data as somebody wrote it, one text a line, made fit to be shown."""
        self.lines(clean(text) for text in texts)

    def document(self, value: Any) -> None:
        """One JSON document: readable with ``--json``, on one line with ``--jsonl``."""
        print(_json(value, 2 if self.form == "json" else None))

    def documents(self, values: Iterable[Any]) -> None:
        """A list as one JSON document, or with ``--jsonl`` one document a line."""
        if self.form == "json":
            self.document(list(values))
            return
        for value in values:
            self.document(value)

    def pages(self, lines: Iterable[str]) -> None:
        """Lines that may be many: through the pager if a person is looking."""
        pager = os.environ.get("PAGER", "less")
        watched = sys.stdout.isatty() and sys.stdin.isatty() and not self.no_pager
        command = shlex.split(pager) if watched and os.environ.get("TERM") != "dumb" else []
        if command and command != ["cat"] and shutil.which(command[0]):
            _page(command, lines)
        else:
            self.lines(lines)

    def note(self, words: str) -> None:
        """Something beside the data, for the person."""
        if not self.quiet:
            print(clean(words), file=sys.stderr)

    def warn(self, words: str) -> None:
        """The same where something is not as it should be."""
        look = look_of(sys.stderr, os.environ, no_color=self.no_color)
        print(paint("! ", "bad", look) + clean(words), file=sys.stderr)

    # -- asking --------------------------------------------------------------------------------

    def sure(self, question: str, *, yes: bool) -> bool:
        """Whether to go on: asked on a terminal, told by ``--yes`` anywhere else."""
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError("there is no terminal to ask on: say --yes, or try --dry-run")
        if click.confirm(clean(question), err=True):
            return True
        self.note("nothing was done")
        return False


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; `InvalidError`."""
    if name.upper() in {"UTC", "Z"}:
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only where a zone is named

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidError(
            f"there is no time zone {name!r}: write one like Europe/London"
        ) from error


def _json(value: Any, indent: int | None) -> str:
    return clean_json_lines(json.dumps(value, ensure_ascii=False, indent=indent))


def clean_json_lines(text: str) -> str:
    """JSON text made safe to show; the line breaks between its values stay."""
    return "\n".join(clean_json(line) for line in text.split("\n"))


def _page(command: list[str], lines: Iterable[str]) -> None:
    """Show the lines in a pager."""
    import signal  # noqa: PLC0415 - only for a person
    import subprocess  # noqa: PLC0415 - the same

    environment = {"LESS": "FRX", **os.environ}
    process = subprocess.Popen(  # noqa: S603 - PAGER is the user's own command line
        command, stdin=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
    )
    # Ctrl-C is the pager's to answer as long as it runs.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.communicate("".join(f"{line}\n" for line in lines))
    finally:
        signal.signal(signal.SIGINT, before)
