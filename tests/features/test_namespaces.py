"""The stored text of a namespace: it sorts as the namespace does, and comes back as it was."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perdure.errors import CorruptError
from perdure.features.namespaces import bounds, decoded, encoded, following

LETTERS = [*map(chr, range(1, 0x30)), "a", "z", "\x7f", "é", "\ud7ff", "\ue000", "\uffff",
           "\U00010000", "\U0010ffff"]  # fmt: skip


def drawn(chance: random.Random) -> Any:
    parts = tuple(
        "".join(chance.choices(LETTERS, k=chance.randrange(3)))
        for _ in range(chance.randrange(1, 4))
    )
    return parts if chance.random() < 0.8 else parts[0]


def order(namespace: Any) -> Any:
    parts = [namespace] if isinstance(namespace, str) else namespace
    return [part.encode() for part in parts]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_stored_comes_back_and_sorts_bytewise_part_by_part(seed: int) -> None:
    chance = random.Random(seed)
    drawn_ones = list(dict.fromkeys(drawn(chance) for _ in range(2000)))
    stored = {namespace: encoded(namespace, 512) for namespace in drawn_ones}

    assert [decoded(text) for text in stored.values()] == drawn_ones
    assert len(set(stored.values())) == len(drawn_ones)
    for kind in (str, tuple):
        own = [namespace for namespace in drawn_ones if isinstance(namespace, kind)]
        by_text = sorted(own, key=lambda namespace: stored[namespace].encode())
        assert by_text == sorted(own, key=order)


@pytest.mark.parametrize("seed", range(5))
def test_the_bounds_hold_what_begins_with_the_parts_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    drawn_ones = [drawn(chance) for _ in range(400)]
    stored = [(one, (encoded(one, 512), "k")) for one in drawn_ones]

    for prefix in drawn_ones[:40]:
        low, high, *_ = bounds(prefix, "", 512)
        inside = [one for one, place in stored if low <= place < high]
        assert inside == [
            one
            for one in drawn_ones
            if one == prefix
            or (isinstance(one, tuple) and isinstance(prefix, tuple) and starts(one, prefix))
        ]


def starts(namespace: tuple[str, ...], prefix: tuple[str, ...]) -> bool:
    return namespace[: len(prefix)] == prefix


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("a", "b"), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000"), ("\U0010ffff", None), ("", None)],
)
def test_what_follows_a_prefix_is_no_surrogate(prefix: str, end: str | None) -> None:
    assert following(prefix) == end


def test_a_namespace_of_usual_names_can_be_read_as_it_is_stored() -> None:
    assert encoded("cooldown", 512) == "cooldown"
    assert encoded(("users", "ada"), 512) == "users!ada!"


def test_a_damaged_namespace_is_never_read_as_another() -> None:
    with pytest.raises(CorruptError, match="users!ada"):
        decoded("users!ada")
