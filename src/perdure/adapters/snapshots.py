"""A session with its state and its events, as frameworks load it: in one call of the store."""

from __future__ import annotations

from datetime import datetime

from perdure.handles import Loaded, load
from perdure.records import SessionKey
from perdure.store import Store


async def snapshot(
    store: Store,
    key: SessionKey,
    *,
    recent: int | None = None,
    after_time: datetime | None = None,
) -> Loaded:
    """The session, its merged state and its events, all of one moment; `NotFoundError`.

    Which events is as in `events.read`: of those not before ``after_time`` the last so many.
    """
    steps = load(store._runner, store._settings, key, recent, after_time)
    loaded: Loaded = await store._runner.flow(steps)
    return loaded


__all__ = ["snapshot"]
