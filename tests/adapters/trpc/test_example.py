"""The example of the page: an agent that goes on in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from tests.engines.processes import ran

ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(600)
def test_the_example_begins_and_goes_on_in_another_process(tmp_path: Path) -> None:
    script = (ROOT / "examples" / "trpc_session.py").read_text(encoding="utf-8")
    path = str(tmp_path / "agents.db")

    [first] = ran(script, path, "My name is Ada.", seconds=300)
    [second] = ran(script, path, "What is my name?", seconds=300)

    assert first == "I have heard 1 things; the first was: My name is Ada."
    assert second == "I have heard 3 things; the first was: My name is Ada."
