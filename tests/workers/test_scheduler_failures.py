"""A scheduler whose store, or whose threads, are slow when a run ends."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

import perdure
from perdure import CronContext, CronPass, Webhook
from perdure.errors import BusyError, PerdureError, UnknownOutcomeError
from perdure.features import outbox
from perdure.testing import open_failing_sync
from perdure.workers import Scheduler
from perdure.workers.handling import _Calling


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("error", "after"),
    [
        (BusyError("the server is away"), False),
        (UnknownOutcomeError("the connection was lost"), True),
    ],
)
def test_the_end_of_a_run_is_stored_once_the_store_is_there_again(
    error: PerdureError, after: bool, fails: bool
) -> None:
    hook = Webhook(url="https://example.com/", secret="a secret of some length")
    store, engine = open_failing_sync(perdure.Config(url="memory:", webhooks=[hook]))

    def handler(_: CronContext) -> None:
        if fails:
            raise ZeroDivisionError

    with store:
        task = store.cron.create("tick", "@yearly")
        store.cron.trigger(task.id)
        engine.fail(error, name="cron.finish", times=2, after=after)

        done = Scheduler(store, {"*": handler}).run_once()

        [run] = store.cron.runs(task.id).items
        facts = store._engine.run(outbox.due(hook, "", store._settings.clock(), 10))
    assert run.status == ("failed" if fails else "success")
    assert done == (CronPass(failed=1) if fails else CronPass(success=1))
    # Though it was stored three times where only the word of it was lost.
    assert len(facts) == int(fails)
    assert engine.names.count("cron.finish") == 3


def test_a_run_goes_on_when_the_store_was_busy_while_its_lease_was_to_be_renewed() -> None:
    store, engine = open_failing_sync(perdure.Config(url="memory:"))

    def handler(context: CronContext) -> None:
        # Until the renewal that failed has been made again.
        while engine.names.count("cron.renew") < 2 and not context.wait(0.01):
            pass

    with store:
        store.cron.trigger(store.cron.create("tick", "@yearly").id)
        engine.fail(BusyError("the server is away"), name="cron.renew")

        done = Scheduler(store, {"*": handler}, lease=timedelta(seconds=3)).run_once()

    assert done == CronPass(success=1)


def test_a_handler_that_has_ended_takes_no_place_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = _Calling.run

    def slow_to_end(calling: _Calling) -> None:
        run(calling)
        time.sleep(0.05)

    monkeypatch.setattr(_Calling, "run", slow_to_end)
    three = threading.Barrier(3)
    with perdure.open_sync("memory:") as store:
        for number in range(6):
            store.cron.trigger(store.cron.create(f"task {number}", "@yearly").id)

        done = Scheduler(store, {"*": lambda _: three.wait(5)}, limit=3).run_once()

    assert done == CronPass(success=6)
