"""PicoClaw's directory, written in the ways that PicoClaw writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import perdure
from perdure import ALL, SessionKey
from perdure.importers import ImportReport

KEY = SessionKey("app", "ada", "telegram:42")
OWNER = {"app": "app", "user": "ada"}
CALL = {
    "role": "assistant",
    "content": "",
    "reasoning_content": "It must be somewhere.",
    "tool_calls": [
        {"id": "t1", "type": "function", "function": {"name": "track", "arguments": "{}"}}
    ],
}
RESULT = {"role": "tool", "content": "York", "tool_call_id": "t1"}

Import = Callable[..., ImportReport]

CREATED = "2026-03-11T10:00:00.123456789+08:00"
UPDATED = "2026-03-12T09:30:00+08:00"


class Claw:
    """One session of a directory, as its store keeps it."""

    def __init__(self, directory: Path, key: str, file: str | None = None, **meta: Any) -> None:
        directory.mkdir(exist_ok=True)
        name = key if file is None else file
        for letter in ":/\\":
            name = name.replace(letter, "_")
        self.log = directory / f"{name}.jsonl"
        self.file = directory / f"{name}.meta.json"
        self._seconds = -1
        self.meta: dict[str, Any] = {
            "key": key,
            "summary": "",
            "skip": 0,
            "count": 0,
            "created_at": CREATED,
            "updated_at": UPDATED,
            **meta,
        }

    def add(self, *messages: Any) -> Claw:
        """Append messages; a text goes into the file as it is."""
        with self.log.open("a", encoding="utf-8") as log:
            for message in messages:
                log.write(message if isinstance(message, str) else json.dumps(message) + "\n")
        return self.describe(count=self.meta["count"] + len(messages))

    def describe(self, **meta: Any) -> Claw:
        """Write the metadata, a second later than the last time."""
        self._seconds += 1
        updated = datetime.fromisoformat(UPDATED) + timedelta(seconds=self._seconds)
        self.meta.update({"updated_at": updated.isoformat(), **meta})
        swap(self.file, json.dumps(self.meta, indent=2))
        return self

    def truncate(self, keep: int, summary: str = "") -> Claw:
        lines = len(self.log.read_text(encoding="utf-8").splitlines())
        return self.describe(skip=max(lines - keep, 0), summary=summary or self.meta["summary"])

    def compact(self) -> Claw:
        """Remove the truncated lines for good, as each save there does."""
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = lines[self.meta["skip"] :]
        self.describe(skip=0, count=len(kept))
        swap(self.log, "".join(kept))
        return self

    def replace(self, *messages: Any) -> Claw:
        self.log.write_text("", encoding="utf-8")
        return self.describe(skip=0).add(*messages)


def swap(file: Path, text: str) -> None:
    """Replace a file at once."""
    new = file.with_name(".tmp-1")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def old(directory: Path, name: str, *messages: Any, **fields: Any) -> Path:
    """A file of the releases before there were logs."""
    directory.mkdir(exist_ok=True)
    file = directory / name
    record = {"messages": list(messages), "created": CREATED, "updated": UPDATED, **fields}
    file.write_text(json.dumps(record), encoding="utf-8")
    return file


def said(*texts: str) -> list[dict[str, Any]]:
    """A talk: the user and the assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]


def contents_of(directory: Path) -> dict[str, tuple[bytes, int]]:
    """All that is in the directory, with the times of change."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


# -- what is stored then -----------------------------------------------------------------------


def history(url: str, key: SessionKey = KEY) -> list[Any]:
    with perdure.open_sync(url) as store:
        return store.history(key.app, key.user).get_history(key.id)


def everything(url: str, key: SessionKey = KEY) -> list[Any]:
    with perdure.open_sync(url) as store:
        return [event.content for event in store.events.read(key)]


def summary(url: str) -> str:
    with perdure.open_sync(url) as store:
        return store.history(KEY.app, KEY.user).get_summary(KEY.id)


def ids(url: str) -> list[str]:
    with perdure.open_sync(url) as store:
        return sorted(session.id for session in store.sessions.list(ALL).items)


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return (
        report.sessions_new,
        report.sessions_known,
        report.events_new,
        report.events_known,
    )


def problems(report: ImportReport) -> list[str]:
    found = [*report.skipped, *report.changed, *report.remarks]
    return [str(one).rpartition("/")[2] for one in found]
