"""A small directory as a close leaves it, and as a kill does; and what is in one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import perdure
from perdure import CorruptError, NewEvent, SessionKey, SyncStore, UserScope

ONE = SessionKey("app", "user", "one")
TWO = SessionKey("app", "user", "two")
USER = UserScope("app", "user")
SESSIONS = (ONE, TWO)


class Images(NamedTuple):
    """Copies of one directory. ``killed``: with lines in the journal that no close took out."""

    closed: Path
    killed: Path


def url_of(folder: Path) -> str:
    """The URL of a store in that folder."""
    return f"jsonl:///{folder}"


def make(folder: Path) -> Images:
    """What was said in two lives: the first was closed, the second one killed, or closed too."""
    store = perdure.open_sync(url_of(folder / "work"))
    for key in SESSIONS:
        store.sessions.create(*key)
        say(store, key, "first")
    store.close()
    store = perdure.open_sync(url_of(folder / "work"))
    say(store, ONE, "second")
    with store.turn() as turn:
        turn.events.append(ONE, NewEvent("turn", id="turn"))
        turn.events.append(TWO, NewEvent("turn", id="turn"))
        turn.state.set(USER, {"turn": "turn"})
    say(store, TWO, "last")
    shutil.copytree(folder / "work", folder / "killed")
    journal = folder / "killed" / "journal.jsonl"
    # Without the room for what comes, which may be cut and flipped as anybody likes.
    journal.write_bytes(journal.read_bytes().rstrip(b" \n") + b"\n")
    store.close()
    shutil.copytree(folder / "work", folder / "closed")
    return Images(folder / "closed", folder / "killed")


SAID = {ONE: ["first", "second", "turn"], TWO: ["first", "turn", "last"]}


def say(store: SyncStore, key: SessionKey, name: str) -> None:
    """One event of that id."""
    store.events.append(key, NewEvent({"role": "user", "content": name}, id=name))


def heard(store: SyncStore, key: SessionKey) -> list[str]:
    """The ids of a session's events."""
    return [str(event.id) for event in store.events.read(key, all_lines=True)]


def copy(image: Path, to: Path, *, index: bool = True) -> Path:
    """Another copy of it, in the place of what is there; with the index or without."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(image, to)
    if not index:
        shutil.rmtree(to / "index")
    return to


def files_of(image: Path) -> list[str]:
    """The files that hold what was said: of sessions, of no session, and the journal."""
    return [*(str(path.relative_to(image)) for path in lined(image))]


def lined(image: Path) -> Iterator[Path]:
    """Each file of lines."""
    yield from sorted(image.rglob("*.jsonl"))


class Verdict(NamedTuple):
    """What a damaged directory came to: who was refused, by what error; what is wrong."""

    refused: str
    wrong: list[str]


def judge(folder: Path, damaged: str, *, shorter: bool = False) -> Verdict:
    """Open, read, append, read again, and all once more without the index.

    ``shorter``: whether the damaged file may have lost what stood at its end.
    """
    wrong: list[str] = []
    refused = ""
    said = {key: [*SAID[key]] for key in SESSIONS}
    for name in ("new", "newer"):
        try:
            with perdure.open_sync(url_of(folder)) as store:
                refused = _look(store, damaged, shorter, name, said, wrong) or refused
        except CorruptError as error:
            if damaged not in str(error) or "line" not in str(error):
                wrong.append(f"refused without its name: {error}")
            return Verdict(f"all: {error}", wrong)
        shutil.rmtree(folder / "index")
    return Verdict(refused, wrong)


def _look(
    store: SyncStore,
    damaged: str,
    shorter: bool,
    name: str,
    said: dict[SessionKey, list[str]],
    wrong: list[str],
) -> str:
    refused = ""
    for key in SESSIONS:
        own = f"/{key.id}-" in damaged
        try:
            found = heard(store, key)
            if found != said[key] and not (own and shorter and found == said[key][: len(found)]):
                wrong.append(f"{key.id}: {found}")
            say(store, key, name)
            said[key] = [*found, name]
        except CorruptError as error:
            refused = str(error)
            if damaged not in refused or "line" not in refused:
                wrong.append(f"{key.id} refused without the name: {error}")
            continue
        except perdure.NotFoundError:
            # Of a session whose first line is damaged nobody knows but its file.
            if not own:
                wrong.append(f"{key.id} is gone")
            refused = refused or "unknown"
            continue
        if heard(store, key) != said[key]:
            wrong.append(f"{key.id}: {heard(store, key)} after an append to {found}")
    if store.state.find(USER, "turn") is None and not (shorter and damaged == "store.jsonl"):
        wrong.append("the state of the user is gone")
    return refused
