"""The primary dies and the standby takes over, at one address for both."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import perdure
from tests.effort import effort
from tests.postgres.servers import Pair, fetch, pair, wait_until
from tests.postgres.writers import Writer, started, wrong_with

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FAILOVERS = effort(1, 5)


def fail_over(nodes: Pair, before: Callable[[], None] = lambda: None) -> tuple[list[Writer], float]:
    """Writers whose primary was killed; and how long nothing was acknowledged to one of them."""
    with perdure.open_sync(nodes.url(), busy_timeout=20) as store:
        writers = started(store, "one")
        before()
        time.sleep(0.5)
        nodes.primary.kill()
        killed = time.monotonic()
        nodes.promote()
        for writer in writers:
            writer.goes_on(20)
        outage = time.monotonic() - killed
        for writer in writers:
            writer.stop()
    return writers, outage


@pytest.mark.parametrize("attempt", range(FAILOVERS))
def test_a_failover_to_a_synchronous_standby_loses_nothing_acknowledged(attempt: int) -> None:
    with pair() as nodes:
        writers, outage = fail_over(nodes)

        assert wrong_with(nodes.standby.url(), writers) == [], f"failover {attempt}"
    told = sum(len(writer.acknowledged) for writer in writers)
    unsure = sum(len(writer.unsure) for writer in writers)
    found = f"{told} acknowledged, {unsure} unknown, writes out for {outage:.2f} s"
    print(f"\nfailover: {found}")  # noqa: T201 - seen with -s
    assert outage < 10


def test_the_check_sees_what_an_asynchronous_standby_has_not_got() -> None:
    with pair(synchronous=False) as nodes:

        def fall_behind() -> None:
            asked = "SELECT count(*)::integer FROM sessions"
            wait_until(
                lambda: fetch(nodes.standby.url(), asked) == fetch(nodes.primary.url(), asked),
                "the standby has the sessions",
            )
            # It gets no more from now on.
            fetch(nodes.standby.url(), "ALTER SYSTEM SET primary_conninfo = ''")
            fetch(nodes.standby.url(), "SELECT pg_reload_conf()")
            receiving = "SELECT count(*)::integer FROM pg_stat_wal_receiver"
            wait_until(lambda: fetch(nodes.standby.url(), receiving) == [(0,)], "it is alone")

        writers, _ = fail_over(nodes, fall_behind)

        wrong = wrong_with(nodes.standby.url(), writers)
    assert any(text.startswith("lost") for text in wrong)
