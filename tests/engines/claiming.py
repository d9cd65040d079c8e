"""What processes do to the key-values of one store, whatever engine it is on."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import perdure
from perdure import ConflictError
from tests.engines.processes import meet, side_by_side

CLAIMS = 300
PROCESSES = 6
BRIEF = timedelta(milliseconds=1)


def claim(url: str, name: str) -> list[str]:
    """Go for every claim at the same time as all others; the keys that were won."""
    won = []
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for number in range(CLAIMS):
            if number % 20 == 0:
                meet()
            key = f"job {number}"
            if store.kv.add("claims", key, name) is not None:
                won.append(key)
    return won


def every_claim_has_one_winner(url: str) -> None:
    """Of keys that are new, and of those that have just expired."""
    with perdure.open_sync(url) as store:
        expired = {f"job {number}": "nobody" for number in range(0, CLAIMS, 2)}
        store.kv.set_many("claims", expired, ttl=BRIEF)

    won = side_by_side(claim, [(url, f"process {n}") for n in range(PROCESSES)])

    winners = {key: f"process {n}" for n, keys in enumerate(won) for key in keys}
    with perdure.open_sync(url) as store:
        stored = {one.key: one.value for one in store.kv.iter("claims")}
    assert sum(map(len, won)) == len(winners) == CLAIMS
    assert stored == winners
    # Else nobody was in anybody's way.
    assert sum(map(bool, won)) > 1


def add_up(url: str, count: int) -> int:
    """Count up a shared number; how often somebody else was faster."""
    lost = 0
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for _ in range(count):
            while True:
                now = store.kv.get("counters", "n")
                try:
                    store.kv.set("counters", "n", now.value + 1, expected_version=now.version)
                    break
                except ConflictError:
                    lost += 1
    return lost


def no_step_of_a_counter_is_lost(url: str) -> None:
    with perdure.open_sync(url) as store:
        first = store.kv.set("counters", "n", 0)

    side_by_side(add_up, [(url, 60) for _ in range(4)])

    with perdure.open_sync(url) as store:
        last = store.kv.get("counters", "n")
    assert (last.value, last.version) == (240, first.version + 240)


def write_or_sweep(url: str, role: str, rounds: int) -> Counter[str]:
    """Set keys that end at once, or for good, while others clean up."""
    done: Counter[str] = Counter()
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for number in range(rounds):
            if role == "sweep":
                done["swept"] += store.kv.cleanup()
            else:
                keys = [f"{role} {number} {n}" for n in range(5)]
                store.kv.set_many("brief", dict.fromkeys(keys, 1), ttl=BRIEF)
                store.kv.set("good", f"{number % 10}", role)
                done["brief"] += 5
    return done


def what_expires_is_swept_once_and_nothing_else(url: str) -> None:
    roles = ["one", "two", "sweep", "sweep"]

    counts = side_by_side(write_or_sweep, [(url, role, 80) for role in roles])

    done = sum(counts, Counter[str]())
    with perdure.open_sync(url) as store:
        assert store.kv.cleanup() + done["swept"] == done["brief"]
        assert store.kv.count("good") == 10
