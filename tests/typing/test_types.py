"""The public types, as mypy --strict sees them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure.features.artifacts import Artifacts
from perdure.features.checkpoints import Checkpoints
from perdure.features.events import Events
from perdure.features.keyvalues import KeyValues
from perdure.features.memory import Memories
from perdure.features.sessions import Sessions
from perdure.features.state import State
from perdure.features.steps import Steps
from perdure.features.summaries import Summaries
from perdure.operation import operation

pytest.importorskip("mypy", reason="mypy comes with perdure[dev]")

ROOT = Path(__file__).parents[2]
API = Path(__file__).parent / "api.py"
FEATURES = {
    "sessions": Sessions,
    "events": Events,
    "state": State,
    "kv": KeyValues,
    "memory": Memories,
    "artifacts": Artifacts,
    "summaries": Summaries,
    "steps": Steps,
    "checkpoints": Checkpoints,
}


def mypy(path: Path) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout


def called(function: str) -> set[str]:
    """The ``feature.method`` that a function of the module calls."""
    [found] = [
        node
        for node in ast.parse(API.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
    ]
    return {
        f"{call.func.value.attr}.{call.func.attr}"
        for call in ast.walk(found)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Attribute)
    }


def methods(feature: str) -> set[str]:
    owner = FEATURES[feature]
    return {name for name in dir(owner) if not name.startswith("_") and name != "name"}


def writes(feature: str) -> set[str]:
    # Read from the class: there a descriptor gives itself.
    return {
        name for name in methods(feature) if isinstance(getattr(FEATURES[feature], name), operation)
    }


def test_every_public_type_is_what_the_module_says() -> None:
    code, output = mypy(API)

    assert output.splitlines()[-1].startswith("Success"), output
    assert code == 0


def test_a_wrong_type_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from typing import assert_type\n"
        "from perdure import SessionKey, Store\n"
        "async def check(store: Store, key: SessionKey) -> None:\n"
        "    assert_type(await store.events.count(key), str)\n",
        encoding="utf-8",
    )

    code, output = mypy(wrong)

    assert code == 1
    assert 'Expression is of type "int", not "str"' in output


@pytest.mark.parametrize("feature", FEATURES)
def test_the_module_names_every_method_in_every_colour(feature: str) -> None:
    every = {f"{feature}.{name}" for name in methods(feature)}
    writing = {f"{feature}.{name}" for name in writes(feature)}

    assert called(f"async_{feature}") == every
    assert called(f"sync_{feature}") == every
    assert called(f"turn_{feature}") == writing
    assert called(f"no_reads_in_a_turn_of_{feature}") == every - writing


def test_a_store_has_no_feature_but_these() -> None:
    store = perdure.open("memory:")

    assert {name for name in vars(store) if not name.startswith("_")} == set(FEATURES)
