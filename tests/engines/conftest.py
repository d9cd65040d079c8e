"""Some of these need processes that fork, stop each other, and share locks."""

import sys

_POSIX = ["fork", "interrupts", "loops_and_threads", "sqlite_processes", "turnstile"]

collect_ignore = [f"test_{name}.py" for name in _POSIX] if sys.platform == "win32" else []
