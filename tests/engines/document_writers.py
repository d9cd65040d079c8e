"""Processes that set and remove the same documents in each other's way."""

from __future__ import annotations

import random

import perdure
from tests.engines.processes import meet, side_by_side

_KEYS = [f"k{number}" for number in range(12)]


def write(url: str, number: int) -> None:
    """Set, overwrite, remove and search, many times."""
    rnd = random.Random(number)
    with perdure.open_sync(url) as store:
        kv = store.kv
        meet()
        for step in range(40):
            key, text = rnd.choice(_KEYS), f"word {number} {step}"
            deed = rnd.randrange(6)
            if deed < 2:
                kv.set("docs", key, f"{text} {key}", app="shop", user="ada", index=["$"])
            elif deed == 2:
                kv.set("docs", key, "plain", app="shop", user="ada")
            elif deed == 3:
                kv.delete("docs", key, app="shop", user="ada")
            elif deed == 4:
                several = {key: f"{text} {key}" for key in _KEYS[::3]}
                kv.set_many("docs", several, app="shop", user="ada", index=["$"])
            else:
                kv.search("word", app="shop", user="ada", limit=50)


def check_index_and_rows_agree(url: str) -> None:
    """What processes leave behind is found by what it says now, and each once."""
    with perdure.open_sync(url) as store:
        store.kv.count()
    side_by_side(write, [(url, number) for number in range(4)])

    with perdure.open_sync(url) as store:
        there = {one.key: one.value for one in store.kv.iter("docs", app="shop", user="ada")}
        hits = store.kv.search("word plain", app="shop", user="ada", limit=1000)
    found = [(hit.item.key, hit.snippet) for hit in hits]
    assert sorted(found) == sorted((k, str(v)) for k, v in there.items() if v != "plain")
