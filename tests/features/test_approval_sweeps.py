"""What is held between the moment a sweep finds it and the moment it removes it stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import perdure
from perdure import SessionKey
from perdure.features.approval_sweeps import Closed
from perdure.operation import Operation


def test_what_is_held_after_it_was_found_stays() -> None:
    key = SessionKey("shop", "ada", "chat")
    with perdure.open_sync("memory:") as store:
        store.sessions.create(*key)
        made = store.approvals.request("send", session=key)
        store.approvals.reject(made.id, by="ada")
        kind, now = Closed("", 1), time.time_ns() // 1_000

        def run(plan: Callable[[], Any]) -> Any:
            return store._runner.operate(Operation("sweep", (), {}, lambda _: plan()))

        found = run(lambda: kind.find(now))
        assert len(found) == 1
        store.sessions.hold(key, by="legal", reason="case")
        run(lambda: kind.remove(now, found))
        assert len(store.approvals.audit(made.id)) == 2

        store.sessions.release(key)
        run(lambda: kind.remove(now, found))
        assert store.approvals.find(made.id) is None
