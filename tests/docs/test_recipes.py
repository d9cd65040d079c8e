"""The shell recipes of docs/jsonl.md do what stands below them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import perdure
from tests.docs.test_examples import (
    ROOT,
    Fence,
    check,
    close_stores,
    examples,
    fences,
    matches,
)

PAGE = ROOT / "docs" / "jsonl.md"
TOOLS = ("bash", "jq", "git", "grep")
_COMMAND = (
    f'#!/bin/sh\nexec "{sys.executable}" -c "from perdure.cli import main; exit(main())" "$@"\n'
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which `perdure` is the command of this checkout."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "perdure"
    command.write_text(_COMMAND, encoding="utf-8")
    command.chmod(0o755)
    source = str(Path(perdure.__file__).parents[1])
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": source, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}


def run(block: Fence, told: Fence, folder: Path, environment: dict[str, str]) -> list[str]:
    """What is wrong with what a recipe prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    said = told.text.splitlines() if told.info == "text" else []
    right = len(lines) == len(said) and all(map(matches, said, lines))
    if done.returncode == 0 and right:
        return []
    return [f"line {block.line}: {done.returncode}, prints {lines}, complains {done.stderr}"]


def test_every_recipe_of_the_page_prints_what_stands_below_it(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    namespace: dict[str, object] = {}
    recipes, wrong = 0, []
    text = PAGE.read_text(encoding="utf-8")
    python = {example.line: example for example in examples(text)}
    for block, following in pairwise([*fences(text), Fence(0, "", "", 0)]):
        if block.info == "sh":
            recipes += 1
            wrong += run(block, following, folder, environment)
        elif block.line in python:
            check(python[block.line], PAGE, namespace)
    close_stores(namespace)

    assert wrong == []
    assert recipes >= 8
