"""System calls that the kernel denies to a process of a test, or kills it for."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

# Each call, and its sister that takes the descriptor of a folder: aarch64 has only that.
_NUMBERS: dict[str, dict[str, tuple[int, ...]]] = {
    "x86_64": {"link": (86, 265), "unlink": (87, 263), "mknod": (133, 259)},
    "aarch64": {"link": (37,), "unlink": (35,), "mknod": (33,)},
}
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06


def refusal() -> str:
    """Why nothing can be forbidden here, or nothing."""
    known = sys.platform == "linux" and platform.machine() in _NUMBERS
    return "" if known else "needs Linux on x86_64 or aarch64, for seccomp"


def deny(call: str) -> None:
    """From now on that call fails here with EPERM, as on a file system that has no such thing."""
    _answer(call, _DENY | errno.EPERM)


def kill_at(call: str) -> None:
    """This process is killed when it makes that call."""
    _answer(call, _KILL)


def _answer(call: str, answer: int) -> None:
    numbers = _NUMBERS[platform.machine()][call]
    steps = [(_LOAD, 0, 0, 0)]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        steps.append((_EQUAL, left, 0, number))
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, answer)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SECCOMP, _FILTER, program, 0, 0)):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
