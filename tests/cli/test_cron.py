"""`perdure cron`: tasks and their runs."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

import perdure as library
from perdure.workers import Scheduler
from tests.cli.command import Perdure, on_terminal, wait_for
from tests.cli.test_upkeep import worker

posix = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals, no signals")


@pytest.fixture
def tasks(filled: str) -> str:
    """Two tasks of two apps; one has run, in a session."""
    with library.open_sync(filled) as store:
        digest = store.cron.create("digest", "0 0 1 1 *", {"n": 1}, app="shop")
        store.cron.create("tidy", "@yearly")
        store.cron.trigger(digest.id)
        key = library.SessionKey("shop", "ada", "late-parcel")
        Scheduler(store, {"*": lambda context: context.link(key)}).run_once()
    return filled


def test_a_pipe_gets_tasks_as_tab_separated_lines(tasks: str, perdure: Perdure) -> None:
    del tasks
    rows = perdure("cron", "ls").rows

    assert [[*row[:4], *row[5:]] for row in rows] == [
        ["tidy", "", "@yearly", "UTC", "", "on"],
        ["digest", "shop", "0 0 1 1 *", "UTC", "", "on"],
    ]
    assert rows[0][4].endswith("-01-01T00:00:00Z")
    assert len(perdure("cron", "ls", "--app", "shop").rows) == 1
    limited = perdure("cron", "ls", "--limit", "1")
    assert (len(limited.rows), "the first 1" in limited.err) == (1, True)


def test_json_has_every_field(tasks: str, perdure: Perdure) -> None:
    del tasks
    [task] = json.loads(perdure("cron", "ls", "--app", "shop", "--json").out)
    [run] = json.loads(perdure("cron", "history", "--app", "shop", "--json").out)

    assert set(task) == set(library.CronTask.__dataclass_fields__)
    assert set(run) == set(library.CronRun.__dataclass_fields__)
    assert (task["action"], task["timeout"]) == ({"n": 1}, None)
    assert (run["status"], run["task_id"], run["trigger"]) == ("success", task["id"], "manual")
    assert run["session"] == {"app": "shop", "user": "ada", "id": "late-parcel"}


@posix
def test_a_terminal_gets_tables(tasks: str) -> None:
    shown = on_terminal(tasks, "cron", "ls").out
    ran = on_terminal(tasks, "cron", "history", "digest", "--app", "shop").out

    assert "TASK" in shown
    assert "0 0 1 1 *" in shown
    assert "success" in ran
    assert "late-parcel" in ran
    assert "no runs" in on_terminal(tasks, "cron", "history").out


def test_a_task_is_added_paused_resumed_run_and_removed(filled: str, perdure: Perdure) -> None:
    added = perdure(
        "cron", "add", "digest", "30 7 * * MON-FRI", "--action", '{"type": "report"}',
        "--timezone", "Europe/Berlin", "--timeout", "5m", "--overlap", "queue", "--misfire", "all",
    )  # fmt: skip
    with library.open_sync(filled) as store:
        task = store.cron.find("digest")
    paused = perdure("cron", "pause", "digest", "--by", "ada")
    state = perdure("cron", "ls").rows[0]
    resumed = perdure("cron", "resume", "digest")
    started = perdure("cron", "run", "digest")
    waits = perdure("cron", "history", "digest").rows
    dry = perdure("cron", "rm", "digest", "--dry-run")
    refused = perdure("cron", "rm", "digest")
    removed = perdure("cron", "rm", "digest", "--yes")
    gone = perdure("cron", "history", "digest").rows

    assert task is not None
    assert (task.timezone, task.action) == ("Europe/Berlin", {"type": "report"})
    assert (task.overlap, task.misfire) == ("queue", "all")
    assert task.timeout is not None
    assert task.timeout.total_seconds() == 300
    assert "digest added, next" in added.err
    assert "digest paused" in paused.err
    assert state[4:] == ["", "", "paused"]
    assert "digest resumed, next" in resumed.err
    assert "waits for a worker" in started.err
    assert [row[2] for row in waits] == ["queued"]
    assert "would be removed" in dry.err
    assert refused.code == 2
    assert "digest removed" in removed.err
    assert [row[2] for row in gone] == ["skipped"]
    assert perdure("cron", "ls").rows == []


def test_adding_a_task_makes_no_store(url: str, perdure: Perdure) -> None:
    refused = perdure("cron", "add", "digest", "@daily")

    assert refused.code == 3
    assert "there is no store" in refused.err
    assert not Path(url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("error", [KeyError("uid 1000 has no name"), OSError("no user")])
def test_a_user_without_a_name_is_asked_for_one(
    tasks: str, perdure: Perdure, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nobody)

    refused = perdure("cron", "pause", "tidy")

    assert refused.code == 2
    assert "--by" in refused.err
    assert "paused" not in perdure("cron", "ls").out
    with library.open_sync(tasks) as store:
        assert all(task.enabled for task in store.cron.iter(library.ALL))


def test_what_changes_answers_in_json_too(tasks: str, perdure: Perdure) -> None:
    del tasks
    added = json.loads(perdure("cron", "add", "a", "@daily", "--json").out)
    paused = json.loads(perdure("cron", "pause", "a", "--json").out)
    started = json.loads(perdure("cron", "run", added["id"], "--json").out)

    assert (added["name"], added["enabled"], added["source"]) == ("a", True, "tool")
    assert paused["paused_by"]
    assert (started["status"], started["trigger"]) == ("queued", "manual")


@posix
def test_the_next_slots_of_a_task_or_of_an_expression(tasks: str, perdure: Perdure) -> None:
    of_task = perdure("cron", "next", "tidy", "-n", "2").out.splitlines()
    of_expression = perdure("cron", "next", "0 12 * * *", "--timezone", "Asia/Tokyo", "-n", "1").out
    shown = on_terminal(tasks, "cron", "next", "@yearly", "-n", "1").out

    assert [line[4:] for line in of_task] == ["-01-01T00:00:00Z"] * 2
    assert of_expression.strip().endswith("T03:00:00Z")
    assert "01 Jan" in shown
    assert json.loads(perdure("cron", "next", "@daily", "-n", "1", "--json").out)[0][10:] == (
        "T00:00:00Z"
    )


@posix
def test_on_a_terminal_an_hour_that_comes_twice_is_told_apart(url: str) -> None:
    berlin = ("0 */1 * * *", "--timezone", "Europe/Berlin")
    shown = on_terminal(
        url, "cron", "next", *berlin, "--after", "2026-10-24T23:30Z", "-n", "3",
    ).out.splitlines()  # fmt: skip

    assert [line.split(" ", 4)[4] for line in shown] == [
        "02:00:00 CEST Europe/Berlin", "02:00:00 CET Europe/Berlin", "03:00:00 CET Europe/Berlin"
    ]  # fmt: skip
    # And no store was made, or missed, for it.
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_the_next_slots_of_a_paused_task_come_with_a_word_of_that(
    tasks: str, perdure: Perdure
) -> None:
    del tasks
    perdure("cron", "pause", "tidy", "--by", "ada")
    told = perdure("cron", "next", "tidy", "-n", "1", "--after", "2030-05-01T00:00Z")
    refused = perdure("cron", "next", "tidy", "--timezone", "Asia/Tokyo")

    assert told.out == "2031-01-01T00:00:00Z\n"
    assert "tidy is paused by ada" in told.err
    assert (refused.code, "its own zone" in refused.err) == (2, True)


def test_the_next_time_is_told_by_the_clocks_of_the_task(filled: str, perdure: Perdure) -> None:
    del filled
    added = perdure("cron", "add", "early", "30 7 1 1 *", "--timezone", "Europe/Berlin")
    perdure("cron", "pause", "early")
    resumed = perdure("cron", "resume", "early")

    for told in (added, resumed):
        assert told.err.strip().endswith("-01-01 07:30 CET Europe/Berlin")


def test_a_history_without_a_limit_is_whole(tasks: str, perdure: Perdure) -> None:
    del tasks
    for _ in range(3):
        perdure("cron", "run", "tidy")
    whole = perdure("cron", "history", "--limit", "0")
    some = perdure("cron", "history", "--limit", "2")

    assert (len(whole.rows), whole.err) == (3, "")
    assert (len(some.rows), "--limit 0 gives all" in some.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("next", ""), 5, "expression ''"),
        (("next", "@daily", "--after", "soonish"), 5, "'soonish' is no time"),
        (("add", "x", "daily"), 5, "has 1 field:"),
        (("add", "x", "@daily", "--action", "{bad"), 5, "--action:"),
        (("add", "x", "@daily", "--timeout", "soon"), 2, "'soon' is no timeout"),
        (("pause", "digest"), 3, "--app 'shop'"),
        (("add", "x", "61 * * * *"), 5, "'61' is no minute"),
        (("add", "x", "0 * * * * *"), 5, "leave out the seconds"),
        (("add", "tidy", "@daily"), 4, "has a task 'tidy'"),
        (("add", "x", "@daily", "--action", "{"), 5, "not JSON"),
        (("add", "x", "@daily", "--timezone", "Mars/Olympus"), 5, "Mars/Olympus"),
        (("run", "nobody"), 3, "no task 'nobody'"),
        (("history", "nobody"), 3, "no task 'nobody'"),
        (("pause", "task_x"), 3, "task_x"),
    ],
)
def test_mistakes_have_their_codes_and_words(
    tasks: str, perdure: Perdure, arguments: tuple[str, ...], code: int, says: str
) -> None:
    del tasks
    done = perdure("cron", *arguments)

    assert done.code == code
    assert says in done.err


def test_what_is_no_json_is_named_with_its_article(filled: str) -> None:
    with library.open_sync(filled) as store:
        for value, says in ((object(), "is an object,"), ({1}, "is a set,")):
            with pytest.raises(library.InvalidError, match=says):
                store.cron.create("x", "@daily", value)


@posix
def test_a_worker_runs_the_tasks_of_an_application(filled: str, tmp_path: Path) -> None:
    source = (
        "import perdure\n"
        "def greet(context):\n"
        "    context.store.kv.set('greeted', context.run.trigger, 1)\n"
        "def make():\n"
        "    return perdure.open_sync(cron_handlers={'greet': greet})\n"
    )
    (tmp_path / "my_tasks.py").write_text(source, encoding="utf-8")
    with library.open_sync(filled) as store:
        task = store.cron.create("greet", "0 0 1 1 *")
        store.cron.trigger(task.id)

    with worker(filled, "--app", "my_tasks:make", cwd=tmp_path) as process:
        with library.open_sync(filled) as store:
            wait_for(lambda: list(store.cron.runs(task.id, status="success")))
            assert store.kv.get("greeted", "manual").value == 1
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)

    assert "scheduler" in told
    assert process.returncode == 0
