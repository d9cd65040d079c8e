"""The example in examples/ does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pydantic_ai.conversation_store", reason="needs pydantic-ai: see .ci/adapters")

from tests.engines.processes import ROOT

SCRIPT = ROOT / "examples" / "pydantic_ai_durable.py"


@pytest.mark.timeout(300)
def test_the_agent_goes_on_and_does_not_pay_again(tmp_path: Path) -> None:
    def run(*args: str) -> list[str]:
        told = subprocess.run(
            [sys.executable, str(SCRIPT), str(tmp_path / "a.db"), *args],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [*told.stdout.splitlines(), *told.stderr.splitlines()]

    assert run("order-7", "crash") == [
        "the model is asked for the 1. time",
        "paid 40 EUR",
        "the model is asked for the 2. time",
        "killed",
    ]
    # What the dead process was at is free after half a minute.
    assert run("order-7") == ["sent", "the model is asked for the 3. time", "Paid and sent."]
    assert run("order-7") == ["was done before"]
    assert run() == ["order-7 6 messages"]
