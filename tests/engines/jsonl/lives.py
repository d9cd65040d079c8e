"""Writers that are killed: what they told of through a pipe has to be there.

Every change names itself, so that what is found can be held against what was told: appends to
two sessions, turns over both and the state of the user, sessions that are made and purged.
"""

from __future__ import annotations

import perdure
from perdure import SessionKey, SyncStore
from perdure.engines.jsonl import directory as directories
from tests.engines.plans import doing, engine_of, sql
from tests.faults.writing import Tell, Work, as_tasks, errors_in, one_by_one, stored, write


def fold_all_the_time(url: str, name: str, tell: Tell, durability: str) -> None:
    """The journal begins anew after every few writes."""
    directories._FOLD_BYTES = 4000
    one_by_one(url, name, tell, durability)


def compact_all_the_time(url: str, name: str, tell: Tell, durability: str) -> None:
    """Sessions come and go, and what they leave is written anew."""
    store = perdure.open_sync(url, durability=durability)
    for number in range(1_000_000):
        tell(write(store, f"{name}.{number}"))
        gone = SessionKey("app", "user", f"brief-{name}-{number}")
        store.sessions.create(*gone)
        store.events.append(gone, "soon gone")
        store.kv.set("brief", gone.id, {"v": 1})
        tell(f"+{gone.id}")
        store.sessions.purge(gone)
        store.kv.delete("brief", gone.id)
        tell(f"-{gone.id}")
        if number % 2:
            store.compact()


def change_the_schema(url: str, name: str, tell: Tell, durability: str) -> None:
    """Every few writes another table is made, and so every file written anew."""
    store = perdure.open_sync(url, durability=durability)
    for number in range(1_000_000):
        tell(write(store, f"{name}.{number}"))
        if number % 3 == 2:
            table = f"extra_{name}_{number}"
            columns = "part TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (part, name)"
            make = doing(
                sql(f"CREATE TABLE {table} ({columns})"),
                sql(f"INSERT INTO {table} (part, name) VALUES ('a', 'b')"),
            )
            engine_of(store).run(make)
            tell(f"={table}")


WORKS: dict[str, Work] = {
    one.__name__: one
    for one in (one_by_one, as_tasks, fold_all_the_time, compact_all_the_time, change_the_schema)
}


# -- the check -------------------------------------------------------------------------------


def look(url: str) -> tuple[set[str], list[str]]:
    """The names of all that is stored, and what is wrong with it."""
    with perdure.open_sync(url) as store:
        names, wrong = stored(store)
        brief = [one.key.id for one in store.sessions.list("app", "user") if "brief" in one.key.id]
        extra, found = _extra(store)
        wrong += found
    return names | {f"+{name}" for name in brief} | {f"={table}" for table in extra}, wrong


def _extra(store: SyncStore) -> tuple[list[str], list[str]]:
    """The tables that were made on the way, and what is wrong with their one row."""
    tables = "SELECT name FROM sqlite_master WHERE name LIKE 'extra%' AND type = 'table'"
    names = [str(name) for (name,) in engine_of(store).run(doing(sql(tables)))]
    wrong = []
    for name in names:
        rows = engine_of(store).run(doing(sql(f"SELECT part, name FROM {name}")))
        wrong += [] if rows == [("a", "b")] else [f"{name} has {rows}"]
    return names, wrong


def lost(before: set[str], told: list[str], stored: set[str]) -> list[str]:
    """What was acknowledged and is not there, or was removed and is."""
    events = [name for name in told if name[0] not in "+-!"]
    wrong = [f"lost: {name}" for name in ({*events} | before) - stored if name[0] not in "+-!"]
    gone = {f"+{name[1:]}" for name in told if name[0] == "-"}
    wrong += [f"risen: {name}" for name in gone & stored]
    return wrong + errors_in(told)
