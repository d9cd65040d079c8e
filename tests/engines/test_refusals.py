"""What is said where a store cannot be opened: an error of perdure, whatever is asked first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import perdure
from tests.engines.processes import ran

_WITHOUT = """
import sys
sys.modules["asyncpg"] = None
import perdure
try:
    perdure.open_sync("postgresql://localhost/agents")
except perdure.MissingExtraError as error:
    print(error)
"""


def test_without_asyncpg_one_line_says_what_to_install() -> None:
    assert ran(_WITHOUT) == ["PostgreSQL needs asyncpg: pip install 'perdure[postgres]'"]


def test_a_file_where_a_folder_should_be_is_said_so_to_who_reads_first(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")

    async def read() -> None:
        # Not by `async with`, which opens it: adapters read without.
        store = perdure.open(f"jsonl:///{file}")
        try:
            await store.sessions.list()
        finally:
            await store.close()

    with pytest.raises(perdure.InvalidError, match="cannot make"):
        asyncio.run(read())
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("scheme", ["sqlite", "jsonl"])
def test_what_other_libraries_take_behind_a_path_names_no_file(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(perdure.InvalidError, match=r"ends in '\?mode=ro'.*arguments of open"):
        perdure.open_sync(f"{scheme}:///{tmp_path}/agent?mode=ro")

    # A question mark is one of the letters that names may have.
    perdure.open_sync(f"{scheme}:///{tmp_path}/what?").close()
    assert [path.name for path in tmp_path.glob("*agent*")] == []


def test_a_folder_in_the_place_of_a_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(perdure.InvalidError, match="is a folder: name a file in it"):
        perdure.open_sync(f"sqlite:///{tmp_path}")
