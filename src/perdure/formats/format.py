"""What a format is made of: four pure functions and a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .message import JSON, Message
from .projection import Projection

Recognise: TypeAlias = Callable[[object], bool]
Project: TypeAlias = Callable[[object], Projection]
Read: TypeAlias = Callable[[object, str], Sequence[Message]]
Write: TypeAlias = Callable[[Sequence[Message]], tuple[list[dict[str, JSON]], list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to spell messages. None of its functions may raise for any JSON value.

    ``recognises(content)`` says whether the shape is this format's beyond doubt;
    ``project(content)`` gives its projection (see `projection_of`);
    ``read(content, author)`` gives its messages, the author deciding the role if nothing else
    does; ``write(messages)`` gives the target's messages and a sentence for each loss (see
    `Losses`).
    """

    name: str
    recognises: Recognise
    project: Project
    read: Read
    write: Write
