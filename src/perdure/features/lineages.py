"""Lineages of checkpoints: how they begin, whose they are, how they go."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from perdure.errors import ConflictError, StaleSessionError
from perdure.features.checkpoint_bodies import CHECKPOINTS
from perdure.features.holds import refuse_if_held
from perdure.features.lookup import Target, hold
from perdure.features.runs import Leasable
from perdure.operation import Bumps, Plan, Settings
from perdure.parts import lineage_part
from perdure.tables import TABLES

#: What goes with a lineage; its own row stays, so that what comes late is known.
_ITS = [table.name for table in TABLES if table.lineage and table.name != "checkpoint_lineages"]


class Comer(Protocol):
    """What comes to a namespace of a lineage."""

    @property
    def part(self) -> str:
        """That of the lineage."""

    @property
    def ns(self) -> str:
        """The key of the namespace."""

    @property
    def namespace(self) -> str:
        """Its name."""

    @property
    def tenant(self) -> str:
        """Whose store it is."""

    @property
    def lineage(self) -> str:
        """The id of the lineage."""

    @property
    def now(self) -> int:
        """The time of the call."""


class Arriving(Comer, Protocol):
    """The same with something to be stored there."""

    @property
    def epoch(self) -> int:
        """The first epoch of the namespace, if this makes it: never one that was before."""


class Fenced(Comer, Protocol):
    """The same that may be refused for coming late."""

    @property
    def fence(self) -> bool | int:
        """True, False, or that of a lease."""


class Following(Fenced, Protocol):
    """A checkpoint that comes after another one."""

    @property
    def id(self) -> str:
        """Its own."""

    @property
    def parent(self) -> str | None:
        """That of the one before it."""

    @property
    def parent_ns(self) -> str | None:
        """The namespace of the one before it; None: the same."""


class Linked(NamedTuple):
    """Whose a lineage is to be; of a session only the key is known before the plan."""

    owner_part: str
    app: str
    user: str
    session: Target | None
    uid: str = ""

    def resolved(self) -> Plan[Linked]:
        """The same with the uid of the session, which is held; `NotFoundError`."""
        if self.session is None:
            return self
        row = yield from hold(self.session, None, {})
        return self._replace(uid=row.uid)


def arrive(comer: Arriving, *, step: int) -> Plan[tuple[int, int]]:
    """The number and the epoch of the namespace, which is this transaction's alone from now on."""
    rows = yield CHECKPOINTS.place(part=comer.part, ns=comer.ns, step=step, now=comer.now)
    if not rows:
        yield CHECKPOINTS.found_lineage(
            part=comer.part, tenant=comer.tenant, lineage=comer.lineage, now=comer.now
        )
        rows = yield CHECKPOINTS.found_namespace(
            part=comer.part,
            ns=comer.ns,
            namespace=comer.namespace,
            step=step,
            epoch=comer.epoch,
            now=comer.now,
        )
    number, epoch = rows[0]
    return number, epoch


def link(comer: Comer, linked: Linked, now: int) -> Plan[None]:
    """Note whose the lineage is, in its own part and in that of the owner.

    Who erases the owner finds it by that; the lineage is held, so that they come before all of
    it, or after.
    """
    where = {"owner": linked.owner_part, "uid": linked.uid}
    if (yield CHECKPOINTS.owned(part=comer.part, **where)):
        return
    yield CHECKPOINTS.link(lineage_part=comer.part, lineage=comer.lineage, now=now, **where)
    yield CHECKPOINTS.own(part=comer.part, app=linked.app, user=linked.user, **where)


def refuse_if_fenced(comer: Fenced) -> Plan[None]:
    """`ConflictError` for what comes to a deleted lineage, or after another run took its lease."""
    held = yield CHECKPOINTS.hold_lineage(part=comer.part)
    if comer.fence is not True:
        if not held or held[0][2] != comer.fence:
            raise StaleSessionError(
                f"fence {comer.fence} is not that of lineage {comer.lineage!r} any more: another "
                "run has taken its lease since; stop this run, or take a lease again",
                0,
            )
    elif held and held[0][0] is not None:
        raise ConflictError(
            f"lineage {comer.lineage!r} was deleted: with fence=True what comes late is refused; "
            "take another id, or put without the fence to begin it anew"
        )


def refuse_if_not_latest(comer: Following) -> Plan[None]:
    """`ConflictError` if the parent is not what was put last, in its namespace."""
    found = yield CHECKPOINTS.latest_id(part=comer.part, ns=comer.ns)
    latest = found[0][0] if found else None
    parent = comer.parent if comer.parent_ns is None else None
    if latest not in {parent, comer.id}:
        raise ConflictError(
            f"checkpoint {comer.id!r} follows {parent!r}, but the latest of {comer.lineage!r} in "
            f"{comer.namespace!r} is {latest!r}: read it again, or put without the fence"
        )


def leasable(settings: Settings, lineage: str) -> Leasable:
    """A lineage, as something that one run at a time works on."""
    part = lineage_part(settings.tenant, lineage, settings.limits.text)

    def held(now: int, _: Bumps) -> Plan[str]:
        if not (yield CHECKPOINTS.hold_lineage(part=part)):
            yield CHECKPOINTS.found_lineage(
                part=part, tenant=settings.tenant, lineage=lineage, now=now
            )
        return ""

    def seen(_: int) -> Plan[str]:
        return ""
        yield  # a plan that asks nothing

    def raised(_: str, token: int) -> Plan[int]:
        [(fence,)] = yield CHECKPOINTS.raise_fence(part=part, token=token)
        return int(fence)

    return Leasable(part, f"lineage {lineage!r}", held, seen, raised)


# -- going -----------------------------------------------------------------------------------


def take(part: str, *, renew: bool = True) -> Plan[bool]:
    """The lineage with all its namespaces for this transaction alone; whether it is there.

    What processes remember of it counts no more, unless nothing is to be removed.
    """
    held = yield CHECKPOINTS.hold_lineage(part=part)
    yield (CHECKPOINTS.renew_all if renew else CHECKPOINTS.hold_namespaces)(part=part)
    return bool(held) and held[0][0] is None


def refuse_if_kept(part: str, what: str) -> Plan[None]:
    """`DeniedError` if somebody whose lineage it is, or their session, is held."""
    for owner_part, uid in (yield CHECKPOINTS.owners(part=part)):
        yield from refuse_if_held(owner_part, uid, what)


def remove(part: str, now: int, *, but: str = "") -> Plan[dict[str, int]]:
    """Remove a lineage that is taken, from those whose it was as well; its rows by table.

    What the part ``but`` says of it is removed by who calls.
    """
    removed = {}
    for owner_part, uid in (yield CHECKPOINTS.owners(part=part)):
        if owner_part != but:
            yield CHECKPOINTS.unlink(owner=owner_part, uid=uid, lineage_part=part)
    for name in _ITS:
        counted = yield CHECKPOINTS.pick("counted", name)(part=part)
        removed[name] = counted[0][0]
        yield CHECKPOINTS.pick("remove", name)(part=part)
    # Who has its lease hears of it with the next renewal.
    yield CHECKPOINTS.end_leases(part=part)
    yield CHECKPOINTS.bury(part=part, now=now)
    return removed


def remove_linked(
    owner_part: str, uid: str | None, now: int, *, but: str = ""
) -> Plan[dict[str, int]]:
    """Remove the lineages of a session, or (None) all of a person; their rows by table."""
    removed = dict.fromkeys(_ITS, 0)
    links = yield CHECKPOINTS.links(owner=owner_part, uid=uid)
    for part in sorted({of for _, of, _ in links}):
        yield from take(part)
        for name, count in (yield from remove(part, now, but=but)).items():
            removed[name] += count
    return removed
