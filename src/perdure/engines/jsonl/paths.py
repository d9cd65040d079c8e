"""Where things are in a directory, by names that people can read and no two sessions share."""

from __future__ import annotations

import os
import re
from base64 import b32encode
from collections.abc import Iterator, Sequence
from hashlib import blake2b

ABOUT = "perdure.json"
SCHEMA = "schema.sql"
JOURNAL = "journal.jsonl"
STORE = "store.jsonl"
SEARCH = "search.jsonl"
SESSIONS = "sessions"
INDEX = "index/index.db"
LACKING = "index/lacking.json"
LOCK = "lock"
WRITER = "writer.json"
#: Stands behind the name of a file that is being written anew.
NEXT = ".next"
#: Beside an index that was found damaged while it was in use.
SPOILT = ".spoilt"

_UNFIT = re.compile(r"[^a-z0-9._-]+")
_READABLE = 60
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def readable(text: str) -> str:
    """What of a text may stand in a file name anywhere: lower-case ASCII, at most 60 bytes."""
    name = _UNFIT.sub("_", text.lower())[:_READABLE].strip(".") or "_"
    return f"{name}_" if _RESERVED.fullmatch(name) else name


def session_file(part: str, uid: str, names: Sequence[str]) -> str:
    """The file of a session, below the directory.

    The folders and the beginning of the name are for people; the digest at its end makes it the
    session's own, whatever a file system does with upper case, slashes and long names.
    """
    digest = b32encode(blake2b(f"{part}\0{uid}".encode(), digest_size=15).digest())
    *folders, name = [readable(text) for text in names] or ["_", "_"]
    return "/".join([SESSIONS, *folders, f"{name}-{digest.decode().lower()}.jsonl"])


def session_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each file of a session, by its path below the directory, with its status."""
    waiting = [SESSIONS]
    while waiting:
        here = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, here)))
        except FileNotFoundError:
            continue
        for entry in entries:
            path = f"{here}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.name.endswith(".jsonl") and entry.is_file():
                yield path, entry.stat()
