"""Whatever a channel becomes from step to step, a process that knows nothing reads what was put."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

import perdure
from perdure import Opaque

WORDS = ["ok", "ok ok", "The parcel left the depot this morning, and should reach you by six. " * 4]


def changed(draw: random.Random, said: list[Any]) -> list[Any]:
    """The list with some taken from its end or from its midst, or some put in, often equal ones."""
    kept = said[: len(said) - draw.choice([0, 0, 0, 1, 2])]
    if kept and draw.random() < 0.2:
        del kept[draw.randrange(len(kept))]
    new = [{"role": "user", "content": draw.choice(WORDS)} for _ in range(draw.choice([0, 1, 2]))]
    place = len(kept) if draw.random() < 0.8 else draw.randint(0, len(kept))
    return [*kept[:place], *new, *kept[place:]]


@pytest.mark.parametrize("seed", range(4))
def test_values_are_what_was_put_however_they_have_changed(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    put: dict[str, dict[str, Any]] = {}
    said: list[Any] = [{"role": "user", "content": draw.choice(WORDS)} for _ in range(20)]
    with perdure.open_sync(url) as store:
        for number in range(160):
            said = changed(draw, said)
            values = {
                "packed": Opaque("msgpack", msgspec.msgpack.encode(said)),
                "plain": said,
                "text": Opaque("raw", "".join(one["content"] for one in said).encode()),
            }
            store.checkpoints.put(
                "thread",
                None,
                id=str(number),
                parent=str(number - 1) if number else None,
                versions=dict.fromkeys(values, number),
                values=values,
            )
            put[str(number)] = values

    with perdure.open_sync(url) as store:
        found = {name: store.checkpoints.get("thread", id=name).values for name in put}
    assert found == put
