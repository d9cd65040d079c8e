"""Services over one store of each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import perdure


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def making(url: str) -> AsyncIterator[Any]:
    """Makes services of one store."""
    # Not at the top: this file is read where trpc-agent-py is not installed as well.
    from perdure.adapters.trpc import PerdureSessionService  # noqa: PLC0415

    async with perdure.open(url) as store:
        yield lambda **options: PerdureSessionService(store, **options)


@pytest.fixture
def service(making: Any) -> Any:
    """A service."""
    return making()
