"""The example in examples/ does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

from tests.engines.processes import ROOT

SCRIPT = ROOT / "examples" / "claude_sessions.py"


def test_a_session_is_there_for_another_process(tmp_path: Path) -> None:
    def run(*args: str) -> list[str]:
        command = [sys.executable, str(SCRIPT), str(tmp_path / "s.db"), *args]
        environment = {**os.environ, "HOME": str(tmp_path)}
        environment.pop("CLAUDE_CONFIG_DIR", None)
        told = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return told.stdout.splitlines()

    assert run("Where is my parcel?") == ["ResultMessage In London."]
    assert run()[:2] == ["Where is my parcel?", "  user: Where is my parcel?"]
