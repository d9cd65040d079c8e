"""The shell completes commands, options, and the ids of sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Perdure, spawn


def completed(url: str, words: str, **more: str) -> list[str]:
    """What bash is offered for the last of the words."""
    asked = {
        "_PERDURE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        **more,
    }
    result = spawn(url, more=asked)
    assert result.err == ""
    return [line.partition(",")[2] for line in result.out.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(perdure: Perdure, shell: str) -> None:
    result = perdure("completion", shell)

    assert result.code == 0
    assert "_PERDURE_COMPLETE" in result.out


def test_another_shell_is_a_usage_error(perdure: Perdure) -> None:
    assert perdure("completion", "csh").code == 2


def test_commands_and_options_are_completed(url: str) -> None:
    assert completed(url, "perdure sess") == ["sessions"]
    assert completed(url, "perdure sessions re") == ["rename", "restore", "release"]
    assert completed(url, "perdure ls --or") == ["--order"]


def test_ids_are_those_of_the_store(filled: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"

    assert completed(filled, "perdure show late") == ["late-again", "late-parcel"]
    assert completed(filled, "perdure sessions rm late-again e") == ["empty"]
    assert completed(other, f"perdure --url {filled} show emp") == ["empty"]


def test_no_store_completes_to_nothing_and_is_not_made(url: str, tmp_path: Path) -> None:
    assert completed(url, "perdure show x") == []
    assert list(tmp_path.iterdir()) == []
