"""Leases: rows that say who does what only one is to do at a time, over all processes.

They are what workers and features build on, and nobody's API.
"""

from __future__ import annotations

from typing import NamedTuple

from perdure.operation import Bumps, Operation, Plan
from perdure.sql import load

LEASES = load("perdure.features", "leases.sql")


class Lease(NamedTuple):
    """Whose a thing is: ``token`` grows with every taking."""

    part: str
    name: str
    owner: str
    token: int


def take(part: str, name: str, owner: str, *, now: int, ttl: int) -> Operation[Lease | None]:
    """The lease, for ``ttl`` microseconds; None while it is somebody else's.

    Who has it already gets it again, with a new token.
    """

    def work(_: Bumps) -> Plan[Lease | None]:
        rows = yield LEASES.take(part=part, name=name, owner=owner, now=now, until=now + ttl)
        return Lease(part, name, owner, rows[0][0]) if rows else None

    return Operation("leases.take", (), {}, work)


def renew(lease: Lease, *, now: int, ttl: int) -> Operation[bool]:
    """Have it for ``ttl`` microseconds from now; False if it has run out or been taken."""

    def work(_: Bumps) -> Plan[bool]:
        rows = yield LEASES.renew(**lease._asdict(), now=now, until=now + ttl)
        return bool(rows)

    return Operation("leases.renew", (), {}, work)


def release(lease: Lease) -> Operation[None]:
    """Let the next one have it at once; nothing happens if it is no longer ours."""

    def work(_: Bumps) -> Plan[None]:
        yield LEASES.release(**lease._asdict())

    return Operation("leases.release", (), {}, work)


def drop(lease: Lease) -> Operation[None]:
    """The same as `release`, and nothing of it is left: for names as many as sessions."""

    def work(_: Bumps) -> Plan[None]:
        yield LEASES.drop(**lease._asdict())

    return Operation("leases.drop", (), {}, work)
