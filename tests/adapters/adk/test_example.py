"""The example of the repository, run as its first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

import perdure

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "examples" / "adk_confirm.py"


def ran(path: Path, step: str) -> str:
    """What the example prints."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(path), step]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_the_example_asks_waits_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"

    asked = ran(path, "ask")
    assert asked.startswith("waiting: send_mail {'to': 'bob'} apr_")
    with perdure.open_sync(f"sqlite:///{path}") as store:
        store.approvals.approve(asked.split()[-1], by="ada")
    assert ran(path, "resume") == "done: It said: {'result': 'sent to bob'}\n"
