"""The sender of webhooks: what stands in the outbox is told, at least once."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from perdure import __version__
from perdure.features import outbox
from perdure.features.outbox import Due
from perdure.operation import Call, Flow, M, Settings, flow, run
from perdure.store import _Store
from perdure.values import from_micros
from perdure.webhooks import SIGNATURE, Webhook, sign
from perdure.workers.posting import post
from perdure.workers.worker import Duty, Worker

_log = logging.getLogger("perdure")

INTERVAL = timedelta(seconds=2)
_BATCH = 100
_SECOND = 1_000_000
_FIRST_WAIT = 5.0
_LONGEST_WAIT = 3600.0
_FAILURE_LENGTH = 500


class WebhookSender(Worker[M]):
    """Tells the store's webhooks what happened; looks every two seconds whether there is anything.

    A fact is told until the answer is 2xx, again after 5 seconds, 10, 20, up to an hour, for three
    days. Of several processes one tells.
    """

    name = "webhooks"

    def __init__(self, store: _Store[M], interval: timedelta = INTERVAL) -> None:
        super().__init__(store, interval)
        self._chance: Callable[[], float] = random.random

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Whether the store has webhooks."""
        return bool(settings.webhooks)

    @flow
    def run_once(self) -> Flow[int | None]:
        """Tell what is due: how many were told. None if another process was at it."""
        return (yield from self._once())

    def _round(self) -> Flow[timedelta | None]:
        yield from self._once()
        return None

    def _once(self) -> Flow[int | None]:
        settings = self._settings
        now = settings.clock()
        # Looked at first: a lease is a write, and most of the time there is nothing to do.
        soonest = yield from run(outbox.next_due(settings.webhooks, settings.tenant, now))
        if soonest is None or soonest > now:
            return 0
        return (yield from self._alone(self._work))

    def _work(self, duty: Duty) -> Flow[int]:
        count = 0
        for hook in self._settings.webhooks:
            count += yield from self._tell(hook, duty)
        return count

    def _tell(self, hook: Webhook, duty: Duty) -> Flow[int]:
        settings = self._settings
        now = settings.clock()
        count = 0
        for one in (yield from run(outbox.due(hook, settings.tenant, now, _BATCH))):
            if not (yield from duty.keep()):
                break
            failure = yield Call(_send, (hook, self._headers(one), _body(one, settings.tenant)))
            if failure:
                yield from self._postpone(one, hook, failure)
                # It may be down: what else it is to be told waits for the next round.
                break
            yield from run(outbox.told(one, hook))
            count += 1
        return count

    def _headers(self, one: Due) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": f"perdure/{__version__}",
            "Perdure-Id": one.id,
            "Perdure-Kind": one.kind,
        }

    def _postpone(self, one: Due, hook: Webhook, failure: str) -> Flow[None]:
        wait = wait_after(one.attempts + 1, self._chance())
        _log.warning(
            "webhook %s: %s not told (attempt %d): %s",
            urlsplit(hook.url).hostname, one.kind, one.attempts + 1, failure,
        )  # fmt: skip
        due_at = self._settings.clock() + int(wait * _SECOND)
        yield from run(outbox.failed(one, hook, failure[:_FAILURE_LENGTH], due_at))


def wait_after(attempts: int, chance: float) -> float:
    """How many seconds to wait after so many attempts; up to a tenth less, by chance."""
    wait = min(_FIRST_WAIT * 2.0 ** min(attempts - 1, 30), _LONGEST_WAIT)
    return wait * (1 - chance / 10)


def _body(one: Due, tenant: str) -> bytes:
    fact = {
        "id": one.id,
        "kind": one.kind,
        "tenant": tenant,
        "created_at": from_micros(one.created_at).isoformat(),
        "data": json.loads(one.payload),
    }
    return json.dumps(fact, separators=(",", ":")).encode()


def _send(hook: Webhook, headers: Mapping[str, str], body: bytes) -> Any:
    # The time of signing is the machine's: it is compared with that of another machine.
    signed = {**headers, SIGNATURE: sign(hook.secret, body, int(time.time()))}
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return post(hook, signed, body)
    # In a task: the loop has other things to do than to wait for somebody's server.
    return asyncio.to_thread(post, hook, signed, body)
