"""File systems of a test's own: small ones, read-only ones, and one whose power can be cut.

All of them in a mount namespace of their own, which ends with its last process: whatever
becomes of a test, nothing stays mounted.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

#: The command under which a test process may mount what it likes.
ALONE = ("unshare", "--mount", "--propagation", "private")

# linux/ext4: _IOR('X', 125, __u32), and to let the journal go as well.
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSHING_THE_LOG = (2).to_bytes(4, sys.byteorder)

_TRIES = """
mkdir -p "$1/mounted" && truncate -s 16M "$1/disk" && mkfs.ext4 -q -F "$1/disk" &&
mount -o loop "$1/disk" "$1/mounted" && umount "$1/mounted" &&
mount -t tmpfs -o size=1m small "$1/mounted"
"""


@cache
def refusal() -> str:
    """Why nothing can be mounted here, or nothing; tried once in a process."""
    needed = ("unshare", "mkfs.ext4", "mount", "umount", "truncate")
    missing = [tool for tool in needed if which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root, to mount file systems"
    with TemporaryDirectory() as folder:
        tried = _run(*ALONE, "sh", "-c", _TRIES, "sh", folder, check=False)
    return tried.stderr.strip().replace("\n", "; ") if tried.returncode else ""


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system on that folder, as `mount` is told, until the end of the block."""
    folder.mkdir(exist_ok=True)
    _run("mount", *options, str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def small(folder: Path, size: str) -> list[str]:
    """What to tell `mount` for a file system in memory of that size."""
    del folder
    return ["-t", "tmpfs", "-o", f"size={size}", "small"]


class Disk:
    """An ext4 in a file, whose power can be cut."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self._folder = folder / "disk"
        self._folder.mkdir()
        _run("truncate", "-s", "128M", str(self._image))
        _run("mkfs.ext4", "-q", "-F", str(self._image))

    @contextmanager
    def running(self) -> Iterator[Path]:
        """The folder it is mounted on; mounting replays the journal, as a boot does."""
        _run("mount", "-o", "loop", str(self._image), str(self._folder))
        try:
            yield self._folder
        finally:
            _run("umount", str(self._folder))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk; what was not synced is gone."""
        root = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.ioctl(root, _SHUTDOWN, _WITHOUT_FLUSHING_THE_LOG)
        finally:
            os.close(root)
