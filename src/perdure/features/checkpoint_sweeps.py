"""Sweeping checkpoints: those that the store's retention does not keep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, Protocol

from perdure.errors import DeniedError
from perdure.features.checkpoint_bodies import CHECKPOINTS
from perdure.features.checkpoint_prunes import Cut, chosen, outline, prune
from perdure.features.checkpoint_reads import LAST_NUMBER
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, run
from perdure.records import PrunedCheckpoints
from perdure.retention import KeepCheckpoints

_PAGE = 200


class Found(Protocol):
    """What a sweep has come upon so far."""

    held: set[tuple[str, str]]

    def add(self, kind: str, count: int, size: int) -> None:
        """So many of a kind more."""


class _Lineage(NamedTuple):
    part: str
    lineage: str


def sweep(
    settings: Settings,
    rule: KeepCheckpoints,
    now: int,
    found: Found,
    dry_run: bool,
    keep: Callable[[], Flow[bool]],
) -> Flow[bool]:
    """Prune one lineage after the other, each in a transaction; False if it was stopped."""
    before = None
    if rule.older_than is not None:
        before = now - rule.older_than // timedelta(microseconds=1)
    cut = Cut(rule.keep_last, before)
    after = ""
    while page := (yield from run(_next(settings, before, after))):
        for one in page:
            yield from _prune(settings, one, cut, found, dry_run)
            if not (yield from keep()):
                return False
        after = page[-1].lineage
    return True


def _next(settings: Settings, before: int | None, after: str) -> Operation[list[_Lineage]]:
    def work(_: Bumps) -> Plan[list[_Lineage]]:
        rows = yield CHECKPOINTS.worth_pruning(
            tenant=settings.tenant,
            after=after,
            before=LAST_NUMBER if before is None else before,
            limit=_PAGE,
        )
        return [_Lineage(*row) for row in rows]

    return Operation("store.sweep", (), {}, work, reads=True)


def _prune(settings: Settings, one: _Lineage, cut: Cut, found: Found, dry_run: bool) -> Flow[None]:
    if not (yield from run(_any(one, cut))):
        return

    def work(_: Bumps) -> Plan[PrunedCheckpoints]:
        return prune(
            one.part,
            one.lineage,
            lambda rows: chosen(rows, cut),
            settings.cache,
            dry_run=dry_run,
            locked=not dry_run,
        )

    try:
        done = yield from run(Operation("store.sweep", (), {}, work, reads=dry_run))
    except DeniedError:
        found.held.add((one.part, ""))
        return
    if done.checkpoints:
        found.add("checkpoints", done.checkpoints, done.bytes)


def _any(one: _Lineage, cut: Cut) -> Operation[bool]:
    """Whether something would go: most lineages are not to be locked for nothing."""

    def work(_: Bumps) -> Plan[bool]:
        return bool(chosen((yield from outline(one.part)), cut))

    return Operation("store.sweep", (), {}, work, reads=True)
