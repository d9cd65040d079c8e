"""Starting: each time a new process, with the files in the system's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.contest import Contestant, MissingError, Opened, Options, Place, Row, Setup
from bench.timing import typical

_OPENAI = "from agents import SQLiteSession"
_ADK = "from google.adk.sessions import DatabaseSessionService"


def rows(_options: Options) -> Sequence[Row]:
    """The interpreter alone, perdure, its command, and the peers' own imports."""
    perdure = Path(sys.executable).with_name("perdure")
    return [
        Row("import", "a new process", "start", [
            Contestant("import perdure", _python("import perdure"), ours=True),
            Contestant("perdure --version", _process([str(perdure), "--version"]), ours=True),
            Contestant("the interpreter alone", _python("pass")),
            Contestant("import sqlite3", _python("import sqlite3")),
            Contestant("import OpenAI's SQLiteSession", _python(_OPENAI)),
            Contestant("import ADK's DatabaseSessionService", _python(_ADK)),
        ], as_time=True),
    ]  # fmt: skip


def _python(statement: str) -> Setup:
    return _process([sys.executable, "-c", statement])


def _process(command: Sequence[str]) -> Setup:
    @contextmanager
    def opened(place: Place) -> Iterator[Opened]:
        environment = _with_bytecode(place.folder)
        run = partial(
            subprocess.run, command, env=environment, check=True, capture_output=True, text=True
        )
        try:
            run()
        except FileNotFoundError as error:
            raise MissingError(f"there is no {error.filename}") from error
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip() or str(error)).splitlines()[-1]
            raise MissingError(last) from error
        yield Opened("", partial(typical, run))

    return opened


def _with_bytecode(folder: Path) -> dict[str, str]:
    """An environment in which the first start compiles, as installing does, and no other."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
