"""Faults are made by means of POSIX: fork, signals, mounts."""

import sys

collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []
