"""Holds: what must be kept for now, whatever else would remove it."""

from __future__ import annotations

from typing import NamedTuple

from perdure.errors import DeniedError, InvalidError
from perdure.features.lookup import SESSIONS, find, hold, not_found, target
from perdure.operation import Bumps, Feature, M, Plan, Settings, Work, operation, reading
from perdure.parts import place
from perdure.records import Hold, SessionKey, UserScope
from perdure.sql import load
from perdure.values import check_text, from_micros

HOLDS = load("perdure.features", "holds.sql")

Held = SessionKey | UserScope


class _Whose(NamedTuple):
    """What is held: all of a person, or the session of that key."""

    part: str
    key: SessionKey | None


class Holding(Feature[M]):
    """The part of `store.sessions` that keeps sessions from being removed."""

    @operation
    def hold(self, of: Held, *, by: str, reason: str) -> Work[Hold]:
        """Let nothing of a session, or with a `UserScope` of a person, be removed.

        Until `release` sweeps pass it over, and whoever deletes, purges or erases it, or
        prunes, clears, deletes or redacts events of it, gets `DeniedError`. Appends and other
        changes go on. A hold on what is held takes the older one's place. `NotFoundError` if
        there is no such session; a person need not be known.
        """
        settings = self._settings
        who, why = _named(by, "by", settings), _named(reason, "reason", settings)
        whose, now = _whose(of, settings), settings.clock()

        def work(bumps: Bumps) -> Plan[Hold]:
            # The rows that a removal takes first: it comes before the hold or sees it.
            if whose.key is None:
                yield SESSIONS.hold_all(part=whose.part)
                uid = ""
            else:
                at = target(settings.tenant, whose.key, settings.limits.text, now)
                uid = (yield from hold(at, None, bumps)).uid
            yield HOLDS.put(part=whose.part, uid=uid, author=who, reason=why, now=now)
            return Hold(of, who, why, from_micros(now))

        return work

    @operation
    def release(self, of: Held, *, by: str = "") -> Work[bool]:
        """End a hold; whether there was one. What else holds it still does.

        Who released it, and when, stays on record. A session that has expired meanwhile is found
        too, behind the one that has its id now.
        """
        settings = self._settings
        who = check_text(by, "by", settings.limits.text)
        whose, now = _whose(of, settings), settings.clock()

        def work(_: Bumps) -> Plan[bool]:
            uids = yield from _uids(whose, settings, now)
            for uid in uids if whose.key is None else filter(None, uids):
                if (yield HOLDS.release(part=whose.part, uid=uid, author=who, now=now)):
                    return True
            return False

        return work

    @reading
    def find_hold(self, of: Held) -> Work[Hold | None]:
        """What holds a session, itself or all of its person, or None."""
        settings = self._settings
        whose, now = _whose(of, settings), settings.clock()

        def work(_: Bumps) -> Plan[Hold | None]:
            live, *others = yield from _uids(whose, settings, now)
            rows = yield HOLDS.of(part=whose.part, uid=live)
            for uid in others if live == "" else ():
                rows = rows or (yield HOLDS.of(part=whose.part, uid=uid))
            if not rows:
                return None
            found_uid, by, reason, held_at = rows[0]
            held: Held = of if found_uid or whose.key is None else UserScope(*whose.key[:2])
            return Hold(held, by, reason, from_micros(held_at))

        return work


def _named(value: str, what: str, settings: Settings) -> str:
    return check_text(value, what, settings.limits.text, blank=False)


def _whose(of: Held, settings: Settings) -> _Whose:
    if isinstance(of, UserScope):
        return _Whose(place(settings.tenant, of.app, of.user, settings.limits.text).part, None)
    if not isinstance(of, tuple):
        raise InvalidError(f"a hold is on a SessionKey or a UserScope, not {of!r}", "of")
    at = target(settings.tenant, of, settings.limits.text, 0)
    return _Whose(at.part, at.key)


def _uids(whose: _Whose, settings: Settings, now: int) -> Plan[list[str]]:
    """What a hold may be on: the session first, or ``""``, then those of its id that it outlived.

    What has expired stays while it is held, so there must be a way to let it go.
    """
    if whose.key is None:
        return [""]
    at = target(settings.tenant, whose.key, settings.limits.text, now)
    row = yield from find(at)
    live = row.uid if row else ""
    found = yield SESSIONS.uids_of(part=at.part, id=at.key.id)
    others = sorted(uid for (uid,) in found if uid != live)
    if not live and not others:
        raise not_found(at.key)
    return [live, *others]


def is_held(part: str, uid: str) -> Plan[bool]:
    """Whether something holds the session; ask once its row is taken."""
    return bool((yield HOLDS.of(part=part, uid=uid)))


def refuse_if_held(part: str, uid: str, what: str) -> Plan[None]:
    """`DeniedError` with the hold, if there is one on the session; once its row is taken."""
    rows = yield HOLDS.of(part=part, uid=uid)
    if rows:
        raise denied(rows[0], what)


def denied(row: tuple[str, str, str, int], what: str) -> DeniedError:
    """The error for what a hold forbids."""
    uid, by, reason, held_at = row
    whole = "it" if uid else "everything of this user"
    return DeniedError(
        f"{what}: {whole} is held by {by!r} since {from_micros(held_at).isoformat()} "
        f"({reason!r}): `sessions.release` ends the hold"
    )
