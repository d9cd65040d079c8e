"""What the core does without pydantic-ai: nothing but say how to get it."""

from __future__ import annotations

from tests.engines.processes import ran

_WITHOUT = """
import sys
sys.modules["pydantic_ai"] = None
import perdure
try:
    import perdure.adapters.pydantic_ai
except perdure.MissingExtraError as error:
    print(error)
"""
_CORE = """
import sys
import perdure
perdure.open_sync("memory:").close()
print([name for name in sys.modules if name.startswith(("perdure.adapters", "pydantic_ai"))])
"""


def test_without_pydantic_ai_one_line_says_what_to_install() -> None:
    [line] = ran(_WITHOUT)

    assert line.endswith("pip install 'perdure[pydantic-ai]'")


def test_the_core_imports_no_adapter() -> None:
    assert ran(_CORE) == ["[]"]
