"""Exit codes, errors, pipes and terminals: the command as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import perdure as library
from perdure import SessionKey
from tests.cli.command import Perdure, environment, on_terminal, spawn, wait_for

LATE = SessionKey("shop", "ada", "late-parcel")
ESCAPE = "\x1b"
posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")

# The command as it is where its extra is not installed.
_WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {%r}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from perdure.cli import main
sys.exit(main())
"""


def test_the_version_is_printed(url: str) -> None:
    for arguments in (["--version"], ["-q", "--version"]):
        result = spawn(url, *arguments)

        assert (result.code, result.out) == (0, f"perdure {library.__version__}\n")


def test_the_version_needs_neither_the_extra_nor_a_store(url: str) -> None:
    assert spawn(url, "--version", code=_WITHOUT % "click").code == 0


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_package_is_a_hint_in_one_line(url: str, package: str, tmp_path: Path) -> None:
    with library.open_sync(url) as store:
        store.sessions.create("shop", "ada", "日本", title="日本")
    more = {"COLUMNS": "80"}

    result = spawn(url, "show", "日本", code=_WITHOUT % package, more=more, cwd=tmp_path)

    assert result.code == 1
    assert result.err == (
        f"perdure: the command line needs {package}: pip install 'perdure[cli]'\n"
    )


def test_help_and_version_do_not_open_a_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    code = (
        "import sys; from perdure.cli import main; code = main();"
        "assert 'perdure.cli.sessions' not in sys.modules; sys.exit(code)"
    )

    result = spawn(url, "--help", code=code)

    assert result.code == 0
    assert "Commands:" in result.out
    assert list(tmp_path.iterdir()) == []


def test_without_a_command_there_is_help(perdure: Perdure) -> None:
    result = perdure()

    assert result.code == 2
    assert "Commands:" in result.err


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("ls", "--nonsense"), ("show",), ("ls", "--limit", "x"), ("migrate", "x")],
)
def test_a_wrong_command_line_is_told_in_one_line(
    shop: Perdure, arguments: tuple[str, ...]
) -> None:
    result = shop(*arguments)

    assert result.code == 2
    assert re.fullmatch(r"perdure: .*\(see `perdure.* --help`\)\n", result.err)
    assert result.out == ""


def test_what_is_not_there_is_exit_code_3(shop: Perdure) -> None:
    result = shop("show", "nobody")

    assert result.code == 3
    assert result.err == (
        "perdure: no session has an id that begins with 'nobody': see `perdure ls`\n"
    )


def test_looking_does_not_make_a_store(tmp_path: Path, perdure: Perdure) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'none.db'}"
    for arguments in (["ls"], ["show", "x"], ["tail"], ["status"], ["sweep"], ["export", "a", "b"]):
        result = perdure("--url", url, *arguments)

        assert result.code == 3
        assert "there is no store at" in result.err
    assert perdure("--url", url, "migrate", "--check").code == 3
    assert list(tmp_path.iterdir()) == []


def test_where_no_store_is_named_it_says_how_to(
    tmp_path: Path, perdure: Perdure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERDURE_URL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    hint = "name yours with --url sqlite:///file.db or PERDURE_URL"

    assert hint in perdure("ls").err
    assert hint not in perdure("ls", "--url", f"sqlite:///{tmp_path / 'none.db'}").err


def test_a_url_that_is_none_is_exit_code_5(perdure: Perdure) -> None:
    assert perdure("--url", "nonsense", "ls").code == 5
    assert perdure("--url", "gopher://x", "ls").code == 5


def test_a_file_that_is_no_database_is_an_error_in_one_line(
    tmp_path: Path, perdure: Perdure
) -> None:
    (tmp_path / "text.db").write_text("This is no database, it is a text. " * 100, encoding="utf-8")

    result = perdure("--url", f"sqlite:///{tmp_path / 'text.db'}", "ls")

    assert result.code == 1
    assert result.err.startswith("perdure: ")
    assert result.err.count("\n") == 1


def test_a_traceback_is_there_for_those_who_ask(url: str) -> None:
    assert "Traceback" not in spawn(url, "show", "x").err
    assert "Traceback" in spawn(url, "show", "x", more={"PERDURE_DEBUG": "1"}).err


@posix
def test_a_closed_pipe_is_no_error(filled: str) -> None:
    with library.open_sync(filled) as store:
        store.events.append(LATE, *[f"{number} {'x' * 500}" for number in range(2_000)])
    for arguments in (
        ["show", "late-p"],
        ["show", "late-p", "--json"],
        ["ls"],
        ["tail", "-n", "9"],
    ):
        command = [
            sys.executable,
            "-c",
            "import sys; from perdure.cli import main; sys.exit(main())",
        ]
        process = subprocess.Popen(
            [*command, *arguments],
            env=environment(filled),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()

        assert process.stderr.read() == b""
        assert process.wait(30) in {0, 141}
        process.stderr.close()


@posix
def test_an_interrupt_is_exit_code_130(filled: str) -> None:
    command = [sys.executable, "-c", "import sys; from perdure.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "tail", "-f", "late-p"],
        env=environment(filled),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert b"Traceback" not in err


def test_an_error_inside_is_one_line_too(shop: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("perdure.cli.sessions.list_sessions", broken)

    result = shop("ls")

    assert result.code == 1
    assert result.err == (
        "perdure: internal error, RuntimeError: two lines (PERDURE_DEBUG=1 shows where)\n"
    )


# -- terminals -----------------------------------------------------------------------------------


def test_a_pipe_never_gets_an_escape(filled: str) -> None:
    for arguments in (["ls"], ["show", "late-p"], ["tail"], ["status"], ["demo"], ["--help"]):
        assert ESCAPE not in spawn(filled, *arguments).out


@posix
def test_a_terminal_gets_a_table_in_colour(filled: str) -> None:
    result = on_terminal(filled, "ls", columns=100)

    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.out).splitlines()
    assert plain[0].split() == [
        "SESSION",
        "APP",
        "USER",
        "TITLE",
        "TAGS",
        "EVENTS",
        "LAST",
        "EVENT",
    ]
    assert [line.split()[0] for line in plain[1:]] == ["empty", "late-again", "late-parcel"]
    assert plain[3].endswith("just now")
    assert ESCAPE in result.out


@posix
@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ((), {"NO_COLOR": "1"}),
        ((), {"TERM": "dumb"}),
        (("--no-color",), {}),
        ((), {"NO_COLOR": "1", "FORCE_COLOR": "1"}),
    ],
)
def test_colour_can_be_declined(
    filled: str, arguments: tuple[str, ...], more: dict[str, str]
) -> None:
    result = on_terminal(filled, "show", "late-p", *arguments, more=more)

    assert ESCAPE not in result.out
    assert "│ Where is my parcel?" in result.out


def test_colour_can_be_forced_into_a_pipe(filled: str) -> None:
    result = spawn(filled, "show", "late-p", more={"FORCE_COLOR": "1"})

    assert f"{ESCAPE}[1;34muser{ESCAPE}[0m" in result.out


@posix
def test_a_terminal_s_width_is_kept(filled: str) -> None:
    with library.open_sync(filled) as store:
        store.events.append(LATE, "word " * 100, "x" * 500, "日本" * 60)
        store.sessions.update(LATE, title="A very long title " * 10)
    for columns in (40, 80, 120):
        for arguments in (["show", "late-p"], ["ls"], ["tail"]):
            result = on_terminal(filled, *arguments, columns=columns, more={"NO_COLOR": "1"})

            from rich.cells import cell_len  # noqa: PLC0415

            assert max(cell_len(line) for line in result.out.splitlines()) <= columns


@posix
def test_a_terminal_gets_long_results_cut_unless_it_wants_all(filled: str) -> None:
    with library.open_sync(filled) as store:
        store.events.append(
            LATE, {"role": "system", "content": "\n".join(f"line {n}" for n in range(50))}
        )

    cut = on_terminal(filled, "show", "late-p").out
    full = on_terminal(filled, "show", "late-p", "--full").out

    assert "… 42 more lines (--full)" in cut
    assert "line 49" not in cut
    assert "line 49" in full
    assert "line 49" in spawn(filled, "show", "late-p").out


@posix
def test_long_output_goes_through_the_pager(filled: str, tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGED; cat\n", encoding="utf-8")
    pager.chmod(0o755)
    more = {"PAGER": str(pager)}

    assert on_terminal(filled, "show", "late-p", more=more).out.startswith("PAGED")
    assert "PAGED" not in on_terminal(filled, "show", "late-p", "--no-pager", more=more).out
    assert "PAGED" not in spawn(filled, "show", "late-p", more=more).out
    assert "parcel" in on_terminal(filled, "show", "late-p", more={"PAGER": "no-such-pager"}).out


@posix
def test_what_an_output_cannot_spell_is_escaped(filled: str) -> None:
    with library.open_sync(filled) as store:
        store.events.append(LATE, "naïve 日本")

    result = spawn(filled, "show", "late-p", more={"PYTHONIOENCODING": "ascii"})

    assert result.code == 0
    assert r"na\xefve \u65e5\u672c" in result.out


# -- tail ----------------------------------------------------------------------------------------


def follow(url: str, tmp_path: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from perdure.cli import main; sys.exit(main())",
                "tail",
                "-f",
                *arguments,
            ],
            env=environment(url),
            stdout=file,
            stderr=subprocess.PIPE,
        )
    return process, out


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    process.communicate(timeout=30)


@posix
def test_tail_follows_a_session(filled: str, tmp_path: Path) -> None:
    process, out = follow(filled, tmp_path, "late-p", "-n", "1")
    try:
        wait_for(lambda: len(out.read_text().splitlines()) == 1)
        with library.open_sync(filled) as store:
            store.events.append(LATE, "six", "seven")
            store.events.append(SessionKey("shop", "bob", "late-again"), "not this")
            store.events.append(LATE, "eight")
        wait_for(lambda: len(out.read_text().splitlines()) == 4)
    finally:
        stop(process)

    rows = [line.split("\t") for line in out.read_text().splitlines()]
    assert [(row[2], row[5]) for row in rows] == [
        ("5", "✗ model overloaded"),
        ("6", "six"),
        ("7", "seven"),
        ("8", "eight"),
    ]


@posix
def test_tail_follows_all_sessions_also_those_to_come(filled: str, tmp_path: Path) -> None:
    process, out = follow(filled, tmp_path, "-n", "0", "--jsonl")
    try:
        # The first look is behind it once it has printed what came after.
        with library.open_sync(filled) as store:
            wait_for(lambda: _said(store, out))
            new = store.sessions.create("shop", "eve", "brand-new")
            store.events.append(new.key, "first", "second")
            store.events.append(SessionKey("shop", "bob", "late-again"), "third")
            store.events.append(new.key, "fourth")
            texts = wait_for(lambda: _texts(out)[-4:] if "fourth" in _texts(out) else None)
    finally:
        stop(process)

    assert texts == ["first", "second", "third", "fourth"]


def _said(store: library.SyncStore, out: Path) -> bool:
    store.events.append(LATE, "are you there?")
    return bool(out.read_text())


def _texts(out: Path) -> list[str]:
    return [json.loads(line)["text"] for line in out.read_text().splitlines()]


def test_tail_shows_what_was_stored_last_whatever_the_session(shop: Perdure) -> None:
    result = shop("tail", "-n", "2")

    assert [(row[1], row[5]) for row in result.rows] == [
        ("late-parcel", "✗ model overloaded"),
        ("late-again", "Hello?"),
    ]
    assert len(shop("tail").rows) == 6
    assert shop("tail", "-n", "0").rows == []
    assert [row[1] for row in shop("tail", "--user", "bob").rows] == ["late-again"]
    lines = shop("tail", "late-p", "--json").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert json.loads(lines[0])["session"] == LATE._asdict()
