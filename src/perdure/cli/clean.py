"""Text of others made fit to be shown: nothing in it can move the cursor or hide a word."""

from __future__ import annotations

import re

# C0 and C1 controls with DEL, line separators, embedded directions, half surrogate pairs.
_DANGEROUS = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TAB = 4
_BYTE = 0xFF


def clean(text: str) -> str:
    r"""The text on one line, a control character shown as ``\n``, ``\x1b`` or ``\u202e``."""
    return _DANGEROUS.sub(_shown, text)


def clean_lines(text: str) -> list[str]:
    """The same, line by line, tabs as spaces."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [clean(line.expandtabs(_TAB)) for line in lines]


def clean_json(text: str) -> str:
    r"""JSON text with such characters as ``\u`` escapes: the same value, safe to show."""
    return _DANGEROUS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    number = ord(character)
    return _SHORT.get(character) or (f"\\x{number:02x}" if number <= _BYTE else f"\\u{number:04x}")
