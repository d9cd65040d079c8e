"""What the core does without trpc-agent-py: nothing but say how to get it."""

from __future__ import annotations

from tests.engines.processes import ran

_WITHOUT = """
import sys
sys.modules["trpc_agent_sdk"] = None
import perdure
try:
    import perdure.adapters.trpc
except perdure.MissingExtraError as error:
    print(error)
"""


def test_without_trpc_agent_one_line_says_what_to_install() -> None:
    [line] = ran(_WITHOUT)

    assert line.endswith("pip install 'perdure[trpc]'")
