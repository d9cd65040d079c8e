"""Running the command: in this process, in one of its own, on a terminal."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perdure

_MAIN = "import sys; from perdure.cli import main; sys.exit(main())"
_KEPT = (
    "PATH", "HOME", "SYSTEMROOT", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE",
    "TMPDIR",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The tab-separated values."""
        return [line.split("\t") for line in self.out.splitlines()]


Perdure = Callable[..., Result]


def environment(url: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment in which only what the test says is set."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PERDURE_URL": url, "PERDURE_TIMEZONE": "UTC", **(more or {})}


def spawn(
    url: str,
    *arguments: str,
    more: Mapping[str, str] | None = None,
    code: str = _MAIN,
    given: str | None = None,
    cwd: Path | None = None,
) -> Result:
    """The command in a process of its own, its output in pipes."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(url, more),
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def on_terminal(
    url: str,
    *arguments: str,
    columns: int = 80,
    more: Mapping[str, str] | None = None,
    typed: str = "",
) -> Result:
    """The command on a terminal of that width; all it shows is in ``out``."""
    import fcntl  # noqa: PLC0415 - not on Windows, where these tests are skipped
    import pty  # noqa: PLC0415
    import termios  # noqa: PLC0415

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, *arguments],
        env=environment(url, {"TERM": "xterm-256color", "PAGER": "cat", **(more or {})}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    os.close(theirs)
    if typed:
        os.write(ours, typed.encode())
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # How Linux says that nobody has the terminal any more.
    os.close(ours)
    return Result(process.wait(30), shown.decode().replace("\r\n", "\n"), "")


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """What the condition gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def fill(url: str) -> None:
    """Three sessions of two apps; one of them has been through everything."""
    with perdure.open_sync(url) as store:
        late = store.sessions.create(
            "shop", "ada", "late-parcel", title="Late parcel", tags=["vip"]
        )
        store.events.append(
            late.key,
            {"role": "user", "content": "Where is my parcel?"},
            perdure.NewEvent(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call-1",
                            "type": "function",
                            "function": {"name": "track", "arguments": '{"parcel": "GX5"}'},
                        }
                    ],
                },
                author="courier",
            ),
            {"role": "tool", "tool_call_id": "call-1", "content": '{"state": "at the depot"}'},
            perdure.NewEvent(
                {"role": "assistant", "content": "It is at the depot."},
                state_delta={"parcel": "GX5", "old": perdure.DELETE},
            ),
            perdure.NewEvent(error=perdure.EventError("model overloaded", "529")),
        )
        other = store.sessions.create("shop", "bob", "late-again", title="Late again")
        store.events.append(other.key, "Hello?")
        store.sessions.create("lab", "ada", "empty")
