"""``python -m bench.search`` runs, and says what it lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bench import search

if TYPE_CHECKING:
    import pytest


def test_without_conversations_it_says_where_to_put_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.jsonl"

    assert search.main(["--rows", "quality", "--data", str(missing)]) == 2

    assert f"{missing}: give --data FILE, or set {search.VARIABLE}" in capsys.readouterr().out


def test_it_tells_the_recall_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ["Where is my red parcel?", "Which parcel?", "The red one from Lyon.", "It is late."]
    roles = ["user", "assistant"] * 6
    talk = [{"role": r, "content": f"{said[n % 4]} {n}"} for n, r in enumerate(roles)]
    data = tmp_path / "talk.jsonl"
    data.write_text("".join(json.dumps({"messages": talk}) + "\n" for _ in range(4)))

    assert search.main(["--rows", "quality", "--data", str(data)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["plain BM25", "perdure"]


def test_it_measures_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rows", "speed", "--engines", "sqlite", "--sizes", "50,2000", "--queries", "5"]

    assert search.main([*arguments, "--dir", str(tmp_path)]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 3
    assert list(tmp_path.iterdir()) == []
