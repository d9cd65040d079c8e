"""What ADK's own session services do wrong, each beside what ours does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")
pytest.importorskip("aiosqlite", reason="ADK's stores need it: see .ci/adapters")
pytest.importorskip("sqlalchemy", reason="ADK's stores need it: see .ci/adapters")

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.events import Event

from perdure.adapters.adk import PerdureSessionService
from tests.adapters.adk.making import AT, closed, event, filled, got, texts, theirs

pytestmark = pytest.mark.filterwarnings("default")


def outcomes(service: Any, body: Any) -> Any:
    """What the body gives with the service, which is closed then."""

    async def main() -> Any:
        try:
            return await body(service)
        finally:
            await closed(service)

    return asyncio.run(main())


def ours(url: str) -> PerdureSessionService:
    return PerdureSessionService(url)


def kinds(found: list[Any]) -> list[str]:
    """Whether each try was stored, refused as stale, or failed in another way."""
    return sorted(
        "stored"
        if isinstance(one, Event)
        else "stale"
        if isinstance(one, StaleSessionError)
        else "failed"
        for one in found
    )


# -- 1: two writers at the same moment -------------------------------------------------------


async def _two_at_once(service: Any) -> list[str]:
    """How many of two stale writers get through, over several tries."""
    seen: list[str] = []
    for number in range(10):
        at = {**AT, "session_id": f"s{number}"}
        await service.create_session(**at)
        copies = [await service.get_session(**at) for _ in range(2)]
        tries = (service.append_event(one, event()) for one in copies)
        seen.append("+".join(kinds(await asyncio.gather(*tries, return_exceptions=True))))
    return seen


def test_theirs_in_sqlite_lets_two_stale_writers_through(tmp_path: Path) -> None:
    assert "stored+stored" in outcomes(theirs("sqlite", tmp_path), _two_at_once)


def test_ours_lets_one_of_two_writers_through(url: str) -> None:
    assert outcomes(ours(url), _two_at_once) == ["stale+stored"] * 10


# -- 2: a revision that is a clock -----------------------------------------------------------


async def _same_moment(service: Any) -> list[str]:
    await filled(service)
    session = await got(service)
    stamp = session.last_update_time
    copies = [await got(service), await got(service)]
    found: list[Any] = []
    for one in copies:
        try:
            found.append(await service.append_event(one, event(timestamp=stamp)))
        except Exception as error:  # noqa: BLE001 - what comes is the question
            found.append(error)
    return kinds(found)


def test_theirs_takes_a_stale_event_of_the_same_moment(tmp_path: Path) -> None:
    assert outcomes(theirs("database", tmp_path), _same_moment) == ["stored", "stored"]


def test_ours_refuses_a_stale_event_whatever_its_time(url: str) -> None:
    assert outcomes(ours(url), _same_moment) == ["stale", "stored"]


# -- 3: a text with a NUL --------------------------------------------------------------------


async def _nul(service: Any) -> Any:
    session = await service.create_session(**AT, state={"note": "before\0after"})
    await service.append_event(session, event(delta={"other": 1}))
    return (await got(service)).state.get("note")


def test_theirs_in_sqlite_cuts_a_text_at_its_nul(tmp_path: Path) -> None:
    assert outcomes(theirs("sqlite", tmp_path), _nul) == "before"


def test_ours_keeps_a_text_with_a_nul(url: str) -> None:
    assert outcomes(ours(url), _nul) == "before\0after"


# -- 4: the same event again -----------------------------------------------------------------


async def _again(service: Any) -> Any:
    session = await service.create_session(**AT)
    said = event("once", id="e1", delta={"n": 1})
    await service.append_event(session, said)
    try:
        await service.append_event(session, said)
    except Exception as error:  # noqa: BLE001 - what comes is the question
        return type(error).__name__
    return texts(await got(service))


@pytest.mark.parametrize("kind", ["sqlite", "database"])
def test_theirs_fails_on_the_same_event_again(tmp_path: Path, kind: str) -> None:
    assert outcomes(theirs(kind, tmp_path), _again) == "IntegrityError"


def test_ours_stores_the_same_event_once(url: str) -> None:
    assert outcomes(ours(url), _again) == ["once"]


# -- 5: an event with an older time ----------------------------------------------------------


async def _backdated(service: Any) -> list[list[str]]:
    session = await service.create_session(**AT)
    # Later than the session: theirs refuses what is older than that.
    now = session.last_update_time
    for text, stamp in (("first", now + 20), ("second", now + 10)):
        await service.append_event(session, event(text, timestamp=stamp))
    return [texts(await got(service)), texts(await got(service, num_recent_events=1))]


@pytest.mark.parametrize("kind", ["sqlite", "database"])
def test_theirs_moves_an_event_with_an_older_time(tmp_path: Path, kind: str) -> None:
    assert outcomes(theirs(kind, tmp_path), _backdated) == [["second", "first"], ["first"]]


def test_ours_keeps_the_order_of_appending(url: str) -> None:
    assert outcomes(ours(url), _backdated) == [["first", "second"], ["second"]]


# -- 6: events of the same time --------------------------------------------------------------


async def _tied(service: Any) -> list[str]:
    session = await service.create_session(**AT)
    stamp = session.last_update_time + 1
    for name in ("c", "a", "b"):
        await service.append_event(session, event(name, timestamp=stamp, id=name))
    return texts(await got(service))


def test_theirs_orders_events_of_one_time_by_their_ids(tmp_path: Path) -> None:
    assert outcomes(theirs("database", tmp_path), _tied) == ["a", "b", "c"]


def test_ours_orders_events_of_one_time_as_they_were_appended(url: str) -> None:
    assert outcomes(ours(url), _tied) == ["c", "a", "b"]


# -- and: state that several sessions share --------------------------------------------------


async def _shared(service: Any) -> int:
    """How many keys of eight sessions of one user, written at the same moment, are lost."""
    lost = 0
    for number in range(3):
        user = {"app_name": "shop", "user_id": f"ada-{number}"}
        sessions = [await service.create_session(**user) for _ in range(8)]
        said = [event(delta={f"user:{n}": n}) for n in range(8)]
        tries = (service.append_event(*both) for both in zip(sessions, said, strict=True))
        await asyncio.gather(*tries, return_exceptions=True)
        lost += 8 - len(await service.get_user_state(**user))
    return lost


def test_theirs_loses_state_that_sessions_share(tmp_path: Path) -> None:
    assert outcomes(theirs("database", tmp_path), _shared) > 0


def test_ours_keeps_all_of_the_state_that_sessions_share(url: str) -> None:
    assert outcomes(ours(url), _shared) == 0


# -- and: what a refused append leaves behind ------------------------------------------------


async def _refused(service: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of the caller, and the delta of the event, after a stale append."""
    await filled(service)
    mine, yours = await got(service), await got(service)
    await service.append_event(yours, event(timestamp=yours.last_update_time + 5))
    late = event(delta={"temp:draft": "x"}, timestamp=mine.last_update_time + 6)
    with pytest.raises(StaleSessionError):
        await service.append_event(mine, late)
    return mine.state, late.actions.state_delta


@pytest.mark.parametrize("kind", ["sqlite", "database"])
def test_theirs_loses_temporary_state_of_what_it_refuses(tmp_path: Path, kind: str) -> None:
    assert outcomes(theirs(kind, tmp_path), _refused) == ({"temp:draft": "x"}, {})


def test_ours_leaves_what_it_refuses_as_it_was(url: str) -> None:
    assert outcomes(ours(url), _refused) == ({}, {"temp:draft": "x"})
