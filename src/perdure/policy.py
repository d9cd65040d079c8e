"""Which tools need a person's approval, and which need none or get none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

from perdure.errors import InvalidError

__all__ = ["ApprovalPolicy", "Verdict"]

_HALF_AN_HOUR = timedelta(minutes=30)


class Verdict(NamedTuple):
    """What a policy says to a tool, and the pattern that said it (``""``: none)."""

    answer: Literal["allow", "deny", "ask"]
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """Which tools run at once, which never, and for how long an approval counts.

    ``allow`` and ``deny``: names of tools, names with ``*`` at their end for all that begin so, or
    ``*`` for all; case does not count, and deny wins. What neither names is asked for. ``ttl``: how
    long there is to answer and to run (None: for ever). ``remember``: a remembered approval counts
    as long as its own time, and at most so long (None: it does not count). `InvalidError`.
    """

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    ttl: timedelta | None = _HALF_AN_HOUR
    remember: timedelta | None = timedelta(hours=1)

    def __post_init__(self) -> None:
        for name in ("allow", "deny"):
            _check_patterns(getattr(self, name), name)
        for name in ("ttl", "remember"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, timedelta) and value > timedelta(0)):
                raise InvalidError(f"{name} must be a timedelta above 0, not {value!r}", name)

    def verdict(self, tool_name: str) -> Verdict:
        """What it says to a tool of that name."""
        for pattern in self.deny:
            if _matches(pattern, tool_name):
                return Verdict("deny", pattern)
        for pattern in self.allow:
            if _matches(pattern, tool_name):
                return Verdict("allow", pattern)
        return Verdict("ask")


def _check_patterns(patterns: object, name: str) -> None:
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise InvalidError(f"{name} is a list of patterns, not {patterns!r}", name)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern.strip() or "*" in pattern[:-1]:
            message = f"{pattern!r} is no pattern: write a name, a name with * at its end, or *"
            raise InvalidError(message, name)


def _matches(pattern: str, tool_name: str) -> bool:
    wanted, name = pattern.casefold(), tool_name.casefold()
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted
