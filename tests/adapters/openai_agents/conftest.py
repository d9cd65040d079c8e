"""Sessions of the SDK on each engine; a test that is a coroutine gets a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


@pytest.fixture(autouse=True)
def _told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK sends what it traces away, unless it is told not to."""
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@pytest.fixture
def sessions(url: str) -> Iterator[Any]:
    """All sessions of a store."""
    from perdure.adapters.openai_agents import PerdureSessions  # noqa: PLC0415 - may be missing

    with PerdureSessions(url, app="shop", user="ada") as opened:
        yield opened


@pytest.fixture
def session(sessions: Any) -> Any:
    """A session that is not there yet."""
    return sessions.session("order-7")
