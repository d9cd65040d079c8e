"""What the core does without LangGraph: nothing but say how to get it."""

from __future__ import annotations

import pytest

from tests.engines.processes import ran

_WITHOUT = """
import sys
sys.modules["langgraph"] = None
import perdure
try:
    import perdure.adapters.langgraph
except perdure.MissingExtraError as error:
    print(error)
"""
_WITHOUT_GRAPHS = """
import sys
sys.modules["langgraph.types"] = None
import perdure, perdure.adapters.langgraph
try:
    import perdure.adapters.langgraph.approvals
except perdure.MissingExtraError as error:
    print(error)
"""
_CORE = """
import sys
import perdure
perdure.open_sync("memory:").close()
print([name for name in sys.modules if name.startswith(("perdure.adapters", "langgraph"))])
"""


def test_without_langgraph_one_line_says_what_to_install() -> None:
    [line] = ran(_WITHOUT)

    assert line.endswith("pip install 'perdure[langgraph]'")


def test_without_graphs_the_approvals_say_what_to_install() -> None:
    pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")
    [line] = ran(_WITHOUT_GRAPHS)

    assert line.endswith("pip install langgraph")


def test_the_core_imports_no_adapter() -> None:
    assert ran(_CORE) == ["[]"]
