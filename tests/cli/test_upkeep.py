"""``perdure status``, ``sweep``, ``prune``, ``worker``, ``migrate``, ``export``, ``erase``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

import perdure as library
from perdure import ALL
from tests.cli.command import Perdure, environment, wait_for


def test_status_tells_where_and_how_much(shop: Perdure, url: str) -> None:
    shop("sessions", "rm", "empty", "--yes")

    told = dict(line.split(maxsplit=1) for line in shop("status").out.splitlines())
    document = json.loads(shop("status", "--json").out)

    assert told["url"] == url
    assert told["schema"] == "up to date"
    assert (told["sessions"], told["deleted"], told["events"]) == ("2", "1", "6")
    assert (document["sessions"], document["deleted"], document["events"]) == (2, 1, 6)
    assert document["bytes"] > 0


def test_status_of_a_store_that_is_behind_says_so_and_changes_nothing(
    perdure: Perdure, url: str
) -> None:
    apsw.Connection(url.removeprefix("sqlite:///")).close()
    Path(url.removeprefix("sqlite:///")).touch()

    result = perdure("status")

    assert result.code == 0
    assert "behind, lacks spine" in result.out
    assert perdure("migrate", "--check").code == 8


def test_migrate_makes_the_schema_and_says_so_once(perdure: Perdure, url: str) -> None:
    Path(url.removeprefix("sqlite:///")).touch()

    missing = perdure("migrate", "--check")
    applied = perdure("migrate")
    again = perdure("migrate")
    checked = perdure("migrate", "--check")

    assert (missing.code, missing.out.splitlines()[0]) == (8, "missing spine")
    assert (applied.code, applied.out.splitlines()[0]) == (0, "applied spine")
    assert (again.code, again.out, again.err) == (0, "", "the schema is up to date\n")
    assert checked.code == 0
    assert json.loads(perdure("migrate", "--check", "--json").out) == {"missing": []}


def test_migrate_works_where_opening_must_not(
    perdure: Perdure, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(url.removeprefix("sqlite:///")).touch()
    monkeypatch.setenv("PERDURE_AUTO_MIGRATE", "off")

    refused = perdure("ls")
    applied = perdure("migrate")

    assert refused.code == 1
    assert "run `perdure migrate`" in refused.err
    assert applied.code == 0
    assert perdure("ls").code == 0


def test_the_printed_sql_makes_a_store_that_needs_nothing_more(perdure: Perdure, url: str) -> None:
    script = perdure("migrate", "--print")
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.execute(script.out)
    connection.close()

    assert perdure("migrate", "--check").code == 0
    assert perdure("migrate", "--print").out == ""
    with library.open_sync(url, auto_migrate=False) as store:
        store.sessions.create("app", "user", "one")


def test_printing_makes_no_file(perdure: Perdure, tmp_path: Path) -> None:
    assert perdure("migrate", "--print").out.startswith("BEGIN;\n")
    assert list(tmp_path.iterdir()) == []


def test_checking_and_printing_are_two_things(perdure: Perdure) -> None:
    assert perdure("migrate", "--check", "--print").code == 2


def test_sweeping_purges_what_has_had_its_time(perdure: Perdure, url: str) -> None:
    with library.open_sync(url, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)) as store:
        store.sessions.create("app", "user", "short", ttl=timedelta(days=1))
        gone = store.sessions.create("app", "user", "gone")
        store.sessions.delete(gone.key)

    tried = perdure("sweep", "--dry-run")
    done = perdure("sweep")

    assert tried.out.startswith("would purge 1 expired and 1 deleted sessions\n")
    assert done.out.startswith("purged 1 expired and 1 deleted sessions\n")
    assert "1 expired, " in done.out
    assert json.loads(perdure("sweep", "--json").out) == {"kinds": {}, "held": 0, "bytes": 0}
    with library.open_sync(url) as store:
        assert store.sessions.count(ALL, include_deleted=True) == 0


def test_a_sweep_takes_what_is_idle_when_it_is_told_the_days(perdure: Perdure, url: str) -> None:
    with library.open_sync(url, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)) as store:
        store.sessions.create("app", "user", "idle")
        kept = store.sessions.create("app", "user", "kept")
        store.sessions.hold(kept.key, by="legal", reason="case 12")

    assert json.loads(perdure("sweep", "--json").out)["kinds"] == {}
    tried = json.loads(perdure("sweep", "--retention-days", "30", "--dry-run", "--json").out)
    done = perdure("sweep", "--retention-days", "30")

    assert (tried["kinds"]["idle"]["count"], tried["held"]) == (1, 1)
    assert "1 idle, " in done.out
    assert done.err == "1 held sessions were passed over\n"


def test_an_erasure_of_what_is_held_has_to_be_told_so(shop: Perdure, url: str) -> None:
    with library.open_sync(url) as store:
        key = library.SessionKey("shop", "ada", "late-parcel")
        store.sessions.hold(key, by="legal", reason="case 12")

    refused = shop("erase", "shop", "ada", "--yes")

    assert refused.code == 6
    assert "'legal'" in refused.err
    assert shop("erase", "shop", "ada", "--yes", "--override-holds").code == 0


def test_pruning_keeps_the_last_events(shop: Perdure, url: str) -> None:
    tried = shop("prune", "late-p", "--keep-last", "2", "--dry-run")
    refused = shop("prune", "late-p", "--keep-last", "2")
    done = shop("prune", "late-p", "--keep-last", "2", "--yes")

    assert tried.out == "late-parcel: would delete at most 3 events\n"
    assert refused.code == 2
    assert done.out == "late-parcel: deleted 3 events\n"
    with library.open_sync(url) as store:
        assert store.events.count(library.SessionKey("shop", "ada", "late-parcel")) == 2


def test_pruning_by_age_goes_through_all_sessions(shop: Perdure, url: str) -> None:
    with library.open_sync(url) as store:
        old = library.NewEvent("old", timestamp=datetime(2020, 1, 1, tzinfo=UTC))
        key = store.sessions.create("shop", "bob", "aged").key
        store.events.append(key, old, "new")

    result = shop("prune", "--all", "--older-than", "30d", "--yes", "--jsonl")

    assert json.loads(result.out) == {"session": "aged", "events": 1}
    assert shop("prune", "--all", "--older-than", "30d").err == "nothing to delete\n"
    assert shop("prune", "--all").code == shop("prune", "--keep-last", "1").code == 2


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_sweeps_until_it_is_told_to_stop(filled: str, sign: signal.Signals) -> None:
    with library.open_sync(filled, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)) as store:
        store.sessions.create("app", "user", "short", ttl=timedelta(days=1))
    with worker(filled) as process:
        wait_for(lambda: not stored(filled, "short"))
        process.send_signal(sign)
        _, told = process.communicate(timeout=20)

    assert process.returncode == 0, told
    assert told.splitlines()[0].startswith("started: sweeper")
    assert told.splitlines()[-1] == "stopped"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("way", ["store", "make"])
def test_a_worker_takes_the_store_of_an_application(filled: str, tmp_path: Path, way: str) -> None:
    (tmp_path / "my_agent.py").write_text(
        "import perdure\n"
        f"options = {{'url': {filled!r}, 'retention': perdure.RetentionConfig(retention_days=1)}}\n"
        "store = perdure.open(**options)\n"
        "def make():\n    return perdure.open_sync(**options)\n",
        encoding="utf-8",
    )
    with library.open_sync(filled, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)) as store:
        store.sessions.create("app", "user", "idle")
    with worker(filled, "--app", f"my_agent:{way}", cwd=tmp_path) as process:
        wait_for(lambda: not stored(filled, "idle"))
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)

    assert process.returncode == 0, told


def test_a_worker_says_what_is_no_store(perdure: Perdure) -> None:
    assert perdure("worker", "--app", "perdure").code == 5
    assert "no store" in perdure("worker", "--app", "perdure:Limits").err
    needing = perdure("worker", "--app", "perdure:SessionKey")
    assert (needing.code, "called without arguments" in needing.err) == (2, True)
    assert perdure("worker", "--app", "perdure:Limits", "--retention-days", "3").code == 2


@contextmanager
def worker(url: str, *more: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    code = "import sys; from perdure.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code, "worker", *more],
        env=environment(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stored(url: str, session_id: str) -> bool:
    with library.open_sync(url) as store:
        every = store.sessions.iter(ALL, ALL, include_deleted=True)
        return session_id in {session.id for session in every}


def test_an_export_is_everything_of_one_person(shop: Perdure, url: str) -> None:
    result = shop("export", "shop", "ada")

    lines = [json.loads(line) for line in result.out.splitlines()]
    with library.open_sync(url) as store:
        assert lines == [json.loads(line) for line in store.export_user("shop", "ada")]
    assert result.err == f"{len(lines)} rows of user 'ada' in app 'shop'\n"
    assert shop("export", "shop", "nobody").out == ""


def test_an_erasure_prints_its_receipt(shop: Perdure) -> None:
    result = shop("erase", "shop", "ada", "--yes")

    assert result.code == 0
    assert result.out.startswith("erased user 'ada' in app 'shop' at ")
    assert "5 events" in " ".join(result.out.split())
    assert [row[0] for row in shop("ls", "--order", "id").rows] == ["empty", "late-again"]
    receipt = json.loads(shop("erase", "shop", "ada", "--yes", "--json").out)
    assert set(receipt["removed"].values()) == {0}
