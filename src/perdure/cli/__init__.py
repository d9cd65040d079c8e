"""The `perdure` command: look at a store, fill it, keep it tidy.

Nothing is imported here that ``perdure --version`` does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from perdure.errors import MissingExtraError

INTERRUPTED = 130
_EXTRA = {"click", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        from perdure import __version__  # noqa: PLC0415 - only here

        print(f"perdure {__version__}")
        return 0
    try:
        from perdure.cli.running import run  # noqa: PLC0415 - needs the extra

        return run(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"perdure: {missing(error)}", file=sys.stderr)
        return MissingExtraError.exit_code


def missing(error: ModuleNotFoundError) -> MissingExtraError:
    """The error that says how to get what the command line needs."""
    return MissingExtraError(f"the command line needs {error.name}: pip install 'perdure[cli]'")
