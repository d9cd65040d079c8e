"""How many tokens a text has, about: for triggers and windows, not for bills."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import Any

from perdure.errors import InvalidError
from perdure.operation import Call, Step

_BYTES_OF_A_TOKEN = 4
# Ideographs, kana and Hangul: most models read about one token from each.
_WIDE = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


def estimate(text: str) -> int:
    """One token for each CJK character, and for every four bytes of UTF-8 of all the rest."""
    if text.isascii():
        return -(-len(text) // _BYTES_OF_A_TOKEN)
    rest, wide = _WIDE.subn("", text)
    return wide - (-len(rest.encode()) // _BYTES_OF_A_TOKEN)


def count(
    counter: Callable[..., Any] | None, texts: Sequence[str]
) -> Generator[Step, Any, list[int]]:
    """The tokens of each text, by the store's ``token_counter`` or by `estimate`."""
    if counter is None:
        return [estimate(text) for text in texts]
    counted = []
    for text in texts:
        number = yield Call(counter, (text,))
        if not isinstance(number, int) or number < 0:
            message = f"token_counter must give a number, 0 or more, not {number!r}"
            raise InvalidError(message, "token_counter")
        counted.append(number)
    return counted
