"""Webhooks: who is told what, and how a receiver knows that it was this store."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from perdure.errors import DeniedError, InvalidError

__all__ = ["KINDS", "SIGNATURE", "Webhook", "sign", "verify"]

#: The header with the signature.
SIGNATURE = "Perdure-Signature"

#: What can be told, and when. A feature that tells of something else adds its line.
KINDS = {
    "session.created": "a session was made, or forked",
    "session.deleted": "a session was deleted, purged or swept",
    "session.restored": "a deleted session was brought back",
    "user.erased": "a person was erased",
    "clarification.asked": "an agent has asked a person",
    "clarification.answered": "a question was answered",
    "approval.requested": "somebody is asked to approve something",
    "approval.resolved": "an approval was approved, rejected or cancelled, or has expired",
    "cron.run_failed": "a run of a task failed, or its scheduler was not heard of any more",
}

_SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Somebody to be told: where, signed with which secret, of which kinds of facts.

    ``kinds``: names of `KINDS`, or patterns with ``*`` (default: all). ``timeout``: seconds for
    each step of a delivery. Addresses of private networks, of this machine and their like are
    refused when it is delivered, unless ``allow_private``. `InvalidError`.
    """

    url: str
    secret: str = field(repr=False)
    kinds: Sequence[str] = ("*",)
    timeout: float = 10.0
    allow_private: bool = False

    def __post_init__(self) -> None:
        _check_url(self.url)
        if not isinstance(self.secret, str) or len(self.secret) < _SHORTEST_SECRET:
            message = f"secret must be a text of {_SHORTEST_SECRET} characters or more"
            raise InvalidError(message, "secret")
        if isinstance(self.kinds, str) or not self.kinds:
            raise InvalidError(f"kinds is a list of kinds, not {self.kinds!r}", "kinds")
        for kind in self.kinds:
            if not any(fnmatchcase(known, str(kind)) for known in KINDS):
                raise InvalidError(f"{kind!r} is none of {sorted(KINDS)}", "kinds")
        if not isinstance(self.timeout, int | float) or not 0 < self.timeout <= 600:  # noqa: PLR2004
            raise InvalidError(f"timeout is seconds from 0 to 600, not {self.timeout!r}", "timeout")

    def wants(self, kind: str) -> bool:
        """Whether it is told of this kind."""
        return any(fnmatchcase(kind, wanted) for wanted in self.kinds)


def _check_url(url: object) -> None:
    if not isinstance(url, str) or any(char <= " " or char == "\x7f" for char in url):
        raise InvalidError(f"url must be an http or https URL, not {url!r}", "url")
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
        parts = urlsplit("")
    if not known or not url.isascii():
        raise InvalidError(f"url must be an http or https URL with a host, not {url!r}", "url")
    if parts.username is not None:
        raise InvalidError("url must not hold a user or a password: the body is signed", "url")


def sign(secret: str, body: bytes, at: int) -> str:
    """The header for a body sent at that second since 1970: ``t=…,v1=…``.

    ``v1`` is HMAC-SHA256 with the secret over the digits of the time, a dot, and the body, in hex.
    """
    return f"t={at},v1={_digest(secret, body, str(at))}"


def verify(
    body: bytes,
    header: str,
    secret: str | Sequence[str],
    *,
    tolerance: timedelta = timedelta(minutes=5),
    now: float | None = None,
) -> dict[str, Any]:
    """The fact that a body tells, if the store that has this secret sent it lately.

    For the receiver: the raw body, the header ``Perdure-Signature``, the secret, or several
    while one takes the place of another. ``tolerance``: how old it may be, or how far clocks may
    differ. ``now``: seconds since 1970, for tests. `DeniedError` for what is not to be trusted.
    """
    pairs = [part.strip().partition("=")[::2] for part in str(header).split(",")]
    stamps = [value for name, value in pairs if name == "t"]
    given = [value for name, value in pairs if name == "v1"]
    if len(stamps) != 1 or not stamps[0].isdecimal() or not stamps[0].isascii() or not given:
        raise DeniedError(f"{header!r} is no signature: t=…,v1=…")
    secrets = [secret] if isinstance(secret, str) else secret
    wanted = [_digest(one, body, stamps[0]) for one in secrets]
    # All of them are compared: how long that takes tells nothing.
    matches = [
        hmac.compare_digest(mine.encode(), theirs.encode()) for mine in wanted for theirs in given
    ]
    if not any(matches):
        raise DeniedError("the signature is not that of the body with this secret")
    age = (time.time() if now is None else now) - int(stamps[0])
    if abs(age) > tolerance.total_seconds():
        raise DeniedError(f"it was signed {age:.0f} s ago: a copy, or a clock is wrong")
    fact: dict[str, Any] = json.loads(body)
    return fact


def _digest(secret: str, body: bytes, stamp: str) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
