"""Lists of records: as many as are asked for, in the form that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from perdure.cli.invocation import Invocation
from perdure.cli.tables import separated

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How records are shown: each as a document, or as values for a program; all for a person."""

    document: Callable[[T], Any]
    values: Callable[[T], Sequence[str]]
    lay_out: Callable[[Invocation, Sequence[T]], None]


def first(every: Iterable[T], limit: int) -> list[T]:
    """What `print_some` needs to print so many (0: all), and to know whether there are more."""
    return list(islice(every, limit + 1 if limit else None))


def print_some(invocation: Invocation, found: Sequence[T], form: Form[T], limit: int = 0) -> None:
    """Print so many of them (0: all), and say so if there are more."""
    shown = found[:limit] if limit else found
    if invocation.form != "text":
        invocation.documents(form.document(one) for one in shown)
    elif invocation.look.laid_out:
        form.lay_out(invocation, shown)
    else:
        invocation.lines(separated([form.values(one) for one in shown]))
    if len(found) > len(shown):
        invocation.note(f"the first {limit}; --limit 0 gives all")
