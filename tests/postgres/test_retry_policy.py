"""A server that is away for longer than the engine waits: the policy of the store goes on.

Nothing is lost, nothing is doubled, and what nobody can know is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import perdure
from perdure import BusyError, EmbeddedPostgres, RetryPolicy, UnknownOutcomeError
from tests.engines.patience import begun, outcome
from tests.faults.rounds import rounds
from tests.postgres.proxy import FaultProxy, is_commit, is_sync
from tests.postgres.servers import fetch, reachable_folder
from tests.postgres.test_lost_commits import WRITES, filled
from tests.postgres.writers import started, wrong_with

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

#: The engine gives up after this, long before the server is back.
PATIENCE = 0.3
AWAY = 1.5
APPENDS = {"append", "append with id", "append of many"}


@pytest.fixture
def proxy(database: str) -> Iterator[FaultProxy]:
    with FaultProxy.to(database) as made:
        yield made


def patient(lines: list[str]) -> RetryPolicy:
    return RetryPolicy(
        max_retries=100, base_delay=0.1, max_delay=0.4, deadline=30, logger=lines.append
    )


def back_after(proxy: FaultProxy, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, lambda: proxy.refuse(refusing=False))
    timer.start()
    return timer


@pytest.mark.parametrize("name", WRITES)
def test_a_write_outlasts_a_server_that_is_away_and_is_made_once(
    database: str, proxy: FaultProxy, name: str
) -> None:
    make, seen, _ = WRITES[name]
    lines: list[str] = []
    retry = patient(lines)
    with filled(proxy.url(database), busy_timeout=PATIENCE, retry=retry) as store:
        proxy.refuse()
        proxy.cut_all()
        # What goes out before the end of the connection is heard of may have arrived.
        time.sleep(0.1)
        timer = back_after(proxy, AWAY)

        outcome(begun(make, store), 30)
        timer.join()

        assert len(lines) >= 2
        assert all("the server cannot be reached" in line for line in lines)
        assert len(seen(store)) == 1


@pytest.mark.parametrize("name", WRITES)
def test_of_a_commit_that_nobody_was_told_of_only_an_append_is_made_again(
    database: str, proxy: FaultProxy, name: str
) -> None:
    make, seen, commit = WRITES[name]
    lines: list[str] = []
    options = {"busy_timeout": 0.5, "pool_max": 1}
    with filled(proxy.url(database), **options, retry=patient(lines)) as store:
        proxy.cut_at("after", commit)
        proxy.refuse()
        timer = back_after(proxy, AWAY)

        if name in APPENDS:
            outcome(begun(make, store), 30)
            assert len(lines) >= 1
        else:
            with pytest.raises(UnknownOutcomeError):
                outcome(begun(make, store), 30)
            assert lines == []
        timer.join()

        assert proxy.cuts["after"] == 1
        assert len(seen(store)) == 1


def test_without_a_policy_the_same_server_is_away_for_too_long(
    database: str, proxy: FaultProxy
) -> None:
    with filled(proxy.url(database), busy_timeout=PATIENCE) as store:
        proxy.refuse()
        proxy.cut_all()
        time.sleep(0.1)
        timer = back_after(proxy, AWAY)

        with pytest.raises(BusyError):
            outcome(begun(WRITES["create"].make, store), 30)
        timer.join()


def test_connections_cut_at_commit_while_the_policy_tries_again_lose_and_double_nothing(
    database: str, proxy: FaultProxy
) -> None:
    lines: list[str] = []
    retry = patient(lines)
    wrong: list[str] = []
    with perdure.open_sync(proxy.url(database), busy_timeout=PATIENCE, retry=retry) as store:
        for number in range(rounds(3)):
            writers = started(store, f"{number}")
            proxy.cut_at("after", lambda m: is_commit(m) or is_sync(m), times=4, skip=3)
            time.sleep(0.1)
            proxy.refuse()
            proxy.cut_all()
            back_after(proxy, 1.0).join()
            for writer in writers:
                writer.goes_on(15)
            for writer in writers:
                writer.stop()
            wrong += wrong_with(database, writers)

    assert wrong == []
    assert lines


def test_a_server_that_restarts_in_the_middle_of_writes_has_each_of_them_once() -> None:
    lines: list[str] = []
    wrong: list[str] = []
    everybody = []
    with reachable_folder() as home, EmbeddedPostgres(home / "node") as node:
        fetch(node.start().url(), "CREATE DATABASE retried")
        url = node.url("retried")
        with perdure.open_sync(url, busy_timeout=PATIENCE, retry=patient(lines)) as store:
            for number in range(rounds(3)):
                writers = started(store, f"{number}")
                before = len(lines)
                node.kill() if number % 2 else node.stop()
                time.sleep(1.0)
                node.start()
                for writer in writers:
                    writer.goes_on(20)
                for writer in writers:
                    writer.stop()
                wrong += wrong_with(url, writers)
                everybody += writers
                # Else the engine alone would have been enough.
                assert len(lines) > before
        wrong += wrong_with(url, everybody)

    assert wrong == []
    assert sum(len(writer.acknowledged) for writer in everybody) > len(everybody)
