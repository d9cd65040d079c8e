"""PicoClaw's sessions come into PostgreSQL as they come into a file."""

from __future__ import annotations

from pathlib import Path

from perdure.importers import read_picoclaw
from tests.importers import processes
from tests.importers.claw import CALL, KEY, RESULT, Claw, everything, history, said, summary
from tests.importers.importing import Load, in_async, in_sync


def test_a_session_comes_in_and_goes_on(database: str, tmp_path: Path) -> None:
    first = [*said("1", "2", "3"), CALL, RESULT, *said("4")]
    claw = Claw(tmp_path / "sessions", KEY.id).add(*first).truncate(3, summary="One.")
    loads: list[Load] = [in_sync, in_async]
    for load in loads:
        report = load(database, read_picoclaw(claw.log.parent), app=KEY.app, user=KEY.user)
        assert report.complete
    assert history(database) == [CALL, RESULT, *said("4")]

    claw.compact().add(*said("5")).describe(summary="Two.")
    for load in loads:
        report = load(database, read_picoclaw(claw.log.parent), app=KEY.app, user=KEY.user)
        assert report.complete

    assert everything(database) == [*first, *said("5")]
    assert history(database) == [CALL, RESULT, *said("4"), *said("5")]
    assert summary(database) == "Two."


def test_two_processes_store_every_message_once(database: str, tmp_path: Path) -> None:
    processes.every_message_is_stored_once(database, tmp_path / "sessions")
