"""Every Python block of README.md and of docs/ runs, and prints what stands beside it.

The blocks of a page run in order, in one fresh namespace and an empty folder; they may await.
What a block of docs/ prints is what its ``# -> …`` comments say, line by line, or the block of
``text`` that follows it at once; ``…`` in either stands for any text. A block marked
``python notest`` is only compiled; a page with one that names a framework, ``python langgraph``,
is skipped where that is not installed; one of ``python test_it.py`` is saved under that name, and
pytest runs what a page has saved. Where a page says `SERVER` it means a real PostgreSQL: the
address of an empty database stands there when the page is run, and where there is no server the
page is skipped.
"""

from __future__ import annotations

import ast
import asyncio
import io
import os
import re
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

import perdure
from perdure import engines, formats

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: How a page writes the address of a PostgreSQL server.
SERVER = "postgresql://app:secret@db.example/agents"
#: What is imported of each framework that a block may name.
FRAMEWORKS = {
    "adk": "google.adk.sessions",
    "claude": "claude_agent_sdk",
    "langgraph": "langgraph.graph",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
    "strands": "strands",
    "trpc": "trpc_agent_sdk",
}
#: Blocks that cannot run here, by page: they need another package or another machine.
NOT_RUN: dict[str, int] = {}

SHOWN = re.compile(r"# -> ?(.*)$", re.MULTILINE)


class Fence(NamedTuple):
    """A fenced block: the page's line it opens at, what stands behind the fence, its text."""

    line: int
    info: str
    text: str
    end: int


class Example(NamedTuple):
    """A block of Python, what it is marked with, and the lines it is to print, if told."""

    line: int
    source: str
    prints: list[str] | None
    mark: str


def fences(page: str) -> Iterator[Fence]:
    opened: tuple[int, str] | None = None
    lines = page.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number, line.removeprefix("```").strip()
        else:
            start, info = opened
            yield Fence(start, info, "\n".join(lines[start : number - 1]), number)
            opened = None
    assert opened is None, f"the block of line {opened} does not end"


def examples(page: str) -> list[Example]:
    found = []
    nothing = Fence(0, "", "", 0)
    for block, following in pairwise([*fences(page), nothing]):
        language, _, mark = block.info.partition(" ")
        if language != "python":
            continue
        prints: list[str] | None = SHOWN.findall(block.text) or None
        gap = page.splitlines()[block.end : following.line - 1]
        if following.info == "text" and not any(gap):
            assert prints is None, f"line {block.line}: shown twice"
            prints = following.text.splitlines()
        found.append(Example(block.line, block.text, prints, mark))
    return found


def compiled(example: Example, page: Path) -> Any:
    source = "\n" * example.line + example.source
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(source, str(page), "exec", flags=flags, dont_inherit=True)


def printed(example: Example, page: Path, namespace: dict[str, Any]) -> list[str]:
    output = io.StringIO()
    with redirect_stdout(output):
        # A coroutine if something in the block is awaited, else None.
        result = eval(compiled(example, page), namespace)  # our own pages
        if isinstance(result, Coroutine):
            asyncio.run(cast("Coroutine[Any, Any, None]", result))
    return output.getvalue().splitlines()


def matches(said: str, line: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in said.split("…"))
    return re.fullmatch(pattern, line) is not None


def close_stores(namespace: dict[str, Any]) -> None:
    for value in namespace.values():
        if isinstance(value, perdure.Store):
            asyncio.run(value.close())
        elif isinstance(value, perdure.SyncStore):
            value.close()


def check(example: Example, page: Path, namespace: dict[str, Any]) -> None:
    """Run a block, and hold what it prints against what the page says."""
    lines = printed(example, page, namespace)
    said = example.prints or []
    if example.prints is None and page.name == "README.md":
        return
    wrong = [pair for pair in zip(said, lines, strict=False) if not matches(*pair)]
    where = f"{page.name}, the block of line {example.line}"
    assert (wrong, len(lines)) == ([], len(said)), f"{where} prints {lines}"


@contextmanager
def with_a_server(page: str) -> Iterator[str]:
    """The page with a real database in the place of `SERVER`; skips where there is none."""
    if SERVER not in page and "EmbeddedPostgres(" not in page:
        yield page
        return
    from tests.postgres import servers  # noqa: PLC0415 - it skips without asyncpg

    if SERVER not in page:
        servers.programs()
        yield page
        return
    url = servers.fresh_database(servers.server())
    try:
        yield page.replace(SERVER, url)
    finally:
        servers.drop_database(url)


def run_the_tests_of_a_page() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def run_the_blocks(told: list[Example], page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for example in told:
            if example.mark.endswith(".py"):
                Path(example.mark).write_text(example.source, encoding="utf-8")
            elif example.mark == "notest":
                compiled(example, page)
            else:
                check(example, page, namespace)
    finally:
        close_stores(namespace)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PERDURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    # Pages register formats and engines, and other tests must not find them.
    monkeypatch.setattr(formats, "_formats", dict(formats._formats))
    monkeypatch.setattr(engines, "_factories", dict(engines._factories))
    monkeypatch.chdir(tmp_path)


# From Python 3.12 on every fork with threads about is warned of; a page shows that it is safe here.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_and_print_what_it_shows(page: Path) -> None:
    with with_a_server(page.read_text(encoding="utf-8")) as text:
        told = examples(text)
        for mark in {example.mark for example in told} & FRAMEWORKS.keys():
            pytest.importorskip(FRAMEWORKS[mark], reason=f"needs {mark}: see .ci/adapters")
        run_the_blocks(told, page)
    if any(example.mark.endswith(".py") for example in told):
        run_the_tests_of_a_page()


def test_the_first_block_for_a_framework_is_a_program_to_copy() -> None:
    pages = {page.name: examples(page.read_text(encoding="utf-8")) for page in PAGES}
    told = {
        name: found[0] for name, found in pages.items() if found and found[0].mark in FRAMEWORKS
    }

    assert len(told) > len(FRAMEWORKS)
    for name, example in told.items():
        # No `await` outside of a function, which only notebooks take.
        compile(example.source, name, "exec", dont_inherit=True)


def test_only_the_blocks_known_here_are_not_run() -> None:
    skipped = {
        page.name: len(left)
        for page in PAGES
        if (
            left := [
                one for one in examples(page.read_text(encoding="utf-8")) if one.mark == "notest"
            ]
        )
    }

    assert skipped == NOT_RUN


def test_a_block_is_held_against_the_comments_in_it_or_the_text_behind_it() -> None:
    page = "```python\nprint(1)  # -> 1\n```\n\n```python\nprint(2)\n```\n\n```text\n2\n```\n"

    assert [example.prints for example in examples(page)] == [["1"], ["2"]]


def test_a_text_block_further_down_belongs_to_no_example() -> None:
    page = "```python\nx = 1\n```\n\nAnd this:\n\n```text\na tree\n```\n"

    assert [example.prints for example in examples(page)] == [None]


@pytest.mark.parametrize(
    ("said", "line", "same"),
    [("id …", "id 7f", True), ("a.c", "abc", False), ("…", "", True), ("1", "12", False)],
)
def test_an_ellipsis_stands_for_any_text(said: str, line: str, same: bool) -> None:
    assert matches(said, line) is same
