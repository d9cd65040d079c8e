"""Runs the command line and turns whatever happens into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from time import perf_counter

import click

from perdure.cli import INTERRUPTED, missing
from perdure.cli.clean import clean
from perdure.cli.commands import PipeClosedError
from perdure.cli.invocation import Invocation
from perdure.cli.root import root
from perdure.errors import MissingExtraError, PerdureError

PIPE_CLOSED = 141


def run(arguments: Sequence[str]) -> int:
    """The exit code: 0, or that of the error, which has been said on standard error."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or file cannot spell is shown as an escape, never an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    invocation = Invocation()
    started = perf_counter()
    code = _guarded(arguments, invocation)
    if invocation.verbose:
        invocation.note(f"{perf_counter() - started:.2f} s")
    return code


def _guarded(arguments: Sequence[str], invocation: Invocation) -> int:
    try:
        code = root.main(
            list(arguments), prog_name="perdure", standalone_mode=False, obj=invocation
        )
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - the outermost place there is
        return _outcome(error)
    return code if isinstance(code, int) else 0


def _outcome(error: Exception) -> int:
    if os.environ.get("PERDURE_DEBUG"):
        traceback.print_exception(error)
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            print(error.format_message(), file=sys.stderr)
            return error.exit_code
        case click.Abort():
            # What click makes of Ctrl-C, and of an end of input where it asked something.
            return INTERRUPTED
        case PipeClosedError() | BrokenPipeError():
            return _pipe_closed()
    words, code = _told(error)
    print(f"perdure: {clean(' '.join(words.split()))}", file=sys.stderr)
    return code


def _told(error: Exception) -> tuple[str, int]:
    """What to say of an error, and its exit code."""
    match error:
        case click.ClickException():
            command = getattr(error, "ctx", None)
            hint = f" (see `{command.command_path} --help`)" if command else ""
            return error.format_message() + hint, error.exit_code
        case PerdureError():
            return str(error), error.exit_code
        case ModuleNotFoundError() if (error.name or "").startswith("rich"):
            return str(missing(error)), MissingExtraError.exit_code
        case OSError():
            return f"{error.filename or 'input or output'}: {error.strerror or error}", 1
    where = "PERDURE_DEBUG=1 shows where"
    return f"internal error, {type(error).__name__}: {error} ({where})", 1


def _pipe_closed() -> int:
    """The reader has seen enough. Python must not try to flush what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED
