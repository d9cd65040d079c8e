"""Our services by their address: as ``adk web`` and ``adk run`` find them."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from google.adk.cli import service_registry
from google.adk.cli.utils.service_factory import (
    create_artifact_service_from_options,
    create_memory_service_from_options,
    create_session_service_from_options,
)

from perdure import ClosedError
from perdure.adapters.adk import (
    PerdureArtifactService,
    PerdureMemoryService,
    PerdureSessionService,
    register,
)
from tests.adapters.adk.making import AT, event, filled, got, texts
from tests.engines.processes import ran

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that knows only ADK's own services."""
    monkeypatch.setattr(service_registry, "_service_registry_instance", None)


def test_one_line_beside_the_agents_is_enough(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    (agents / "services.py").write_text("import perdure.adapters.adk.services\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("services", "perdure.adapters.adk.services"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    service_registry.load_services_module(str(agents))
    address = "perdure+" + url.replace("memory:", "memory://")

    sessions = create_session_service_from_options(
        base_dir=agents, session_service_uri=address, session_db_kwargs={"tenant": "t1"}
    )
    memory = create_memory_service_from_options(base_dir=agents, memory_service_uri=address)
    artifacts = create_artifact_service_from_options(base_dir=agents, artifact_service_uri=address)
    assert isinstance(sessions, PerdureSessionService)
    assert isinstance(memory, PerdureMemoryService)
    assert isinstance(artifacts, PerdureArtifactService)
    assert sessions.store.tenant == "t1"
    assert memory.store is artifacts.store is not sessions.store

    async def main() -> None:
        await filled(sessions, "one")
        await sessions.append_event(await got(sessions), event("two"))
        assert texts(await got(sessions)) == ["one", "two"]
        await memory.add_session_to_memory(await got(sessions))
        assert await artifacts.list_artifact_keys(**AT) == []
        for service in (sessions, memory, artifacts):
            await service.close()

    asyncio.run(main())
    monkeypatch.delitem(sys.modules, "services", raising=False)


def test_the_last_service_of_an_address_that_is_closed_closes_the_store(url: str) -> None:
    registry = service_registry.ServiceRegistry()
    register(registry)
    address = "perdure+" + url.replace("memory:", "memory://")

    async def main() -> None:
        sessions = registry.create_session_service(address)
        memory = registry.create_memory_service(address)
        assert isinstance(sessions, PerdureSessionService)
        await filled(sessions, "one")
        for _ in range(2):
            await sessions.close()
        assert texts(await got(sessions)) == ["one"]
        await memory.close()
        with pytest.raises(ClosedError):
            await got(sessions)

        # What was closed is opened anew, what was dropped is used again.
        async with registry.create_session_service(address) as again:
            assert again.store is not sessions.store
            await again.store.close()
        dropped = registry.create_session_service(address)
        store = dropped.store
        del dropped, again
        gc.collect()
        async with registry.create_session_service(address) as last:
            assert last.store is store

    asyncio.run(main())


def test_a_program_that_closes_nothing_ends_with_its_store_closed(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from google.adk.cli.service_registry import ServiceRegistry
from perdure.adapters.adk import register
from tests.adapters.adk.making import filled
registry = ServiceRegistry()
register(registry)
service = registry.create_session_service(sys.argv[1])
asyncio.run(filled(service, "one"))
"""
    ran(script, f"perdure+sqlite:///{tmp_path}/store.db")

    # SQLite leaves its log behind unless the last one to close has brought it in.
    assert not list(tmp_path.glob("*-wal"))


def test_an_unknown_option_is_told(tmp_path: Path) -> None:
    register()
    with pytest.raises(TypeError, match="pool_pre_ping"):
        create_session_service_from_options(
            base_dir=tmp_path,
            session_service_uri="perdure+memory:",
            session_db_kwargs={"pool_pre_ping": True},
        )


def test_the_server_of_adk_web_serves_our_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    from google.adk.cli.fast_api import get_fast_api_app  # noqa: PLC0415 - needs fastapi

    agents = tmp_path / "agents"
    (agents / "clerk").mkdir(parents=True)
    (agents / "clerk" / "__init__.py").write_text("from . import agent\n")
    (agents / "clerk" / "agent.py").write_text(
        "from google.adk.agents import LlmAgent\nroot_agent = LlmAgent(name='clerk')\n"
    )
    (agents / "services.py").write_text("import perdure.adapters.adk.services\n")
    for name in ("services", "perdure.adapters.adk.services"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    address = f"perdure+sqlite:///{tmp_path / 'web.db'}"
    app = get_fast_api_app(
        agents_dir=str(agents),
        session_service_uri=address,
        artifact_service_uri=address,
        memory_service_uri=address,
        web=False,
    )
    with testclient.TestClient(app) as client:
        path = "/apps/clerk/users/ada/sessions"
        made = client.post(f"{path}/s1", json={"k": 1})
        assert made.status_code == 200
        assert client.get(f"{path}/s1").json()["state"] == {"k": 1}
        assert [one["id"] for one in client.get(path).json()] == ["s1"]
        assert client.delete(f"{path}/s1").status_code == 200
        assert client.get(path).json() == []
    monkeypatch.delitem(sys.modules, "services", raising=False)
