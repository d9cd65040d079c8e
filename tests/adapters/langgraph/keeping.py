"""Stores of LangGraph for tests, called by what awaits and by what does not."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

COLOURS = ("called", "awaited")


class Called:
    """A store whose methods are called: with ``awaited`` their twins are, on a loop."""

    def __init__(self, store: Any, colour: str) -> None:
        self.store = store
        self._runner = asyncio.Runner() if colour == "awaited" else None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._runner is None:
            method: Callable[..., Any] = getattr(self.store, name)
            return method
        twin = getattr(self.store, f"a{name}")
        runner = self._runner
        return lambda *args, **options: runner.run(_awaited(twin, args, options))

    def close(self) -> None:
        """End the loop."""
        if self._runner is not None:
            self._runner.close()


async def _awaited(method: Callable[..., Any], args: Any, options: Any) -> Any:
    return await method(*args, **options)


class Letters:
    """Vectors by the letters of a text: two texts of the same letters are the same."""

    def __init__(self, dims: int = 300) -> None:
        self.dims = dims
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return [self.one(text) for text in texts]

    def one(self, text: str) -> list[float]:
        vector = [0.0] * self.dims
        for letter, count in Counter(text).items():
            direction = random.Random(ord(letter))
            for place in range(self.dims):
                vector[place] += count * direction.gauss(0, 1)
        length = math.sqrt(sum(number * number for number in vector)) or 1.0
        return [number / length for number in vector]


def keys(found: Any) -> list[str]:
    """The keys of what a search gives."""
    return [one.key for one in found]


def namespaces(found: Any) -> set[tuple[str, ...]]:
    """The namespaces of what a search gives."""
    return {one.namespace for one in found}
