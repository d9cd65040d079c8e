"""From text to the words that are searched for: the same on every engine, without one.

Words are runs of letters, digits and the marks on them; case, width and compatibility forms do
not count. Chinese, Japanese and Korean are written without spaces, so a run of their characters
is indexed as every character and every pair of neighbours, and looked for by its pairs. Each
other symbol that is a picture (emoji) is a word. All else stands between words, so that nothing
a person types can be syntax.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category, normalize

#: Of a longer word only the beginning counts, of a longer text too.
WORD_CHARACTERS = 64
TEXT_CHARACTERS = 100_000
#: Of a query, so many different words count: the first ones.
QUERY_WORDS = 32

_EAST = (
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff\U00020000-\U000323af"
)
_WORD = re.compile(r"[a-z0-9]+")
_RUN = re.compile(rf"[{_EAST}]+|[^\s{_EAST}]+")
_IS_EAST = re.compile(rf"[{_EAST}]")

#: Left out of queries, where other words are there: they stand in nearly every text.
STOP_WORDS = frozenset(
    """
    a about all also am an and any are as at be been but by can could d did do does for from get
    got had has have he her him his how i if in into is it its just ll m me my no not of on or our
    out s she so some t than that the their them then there these they this to up us ve was we
    were what when where which who will with would you your
    """.split()  # noqa: SIM905 - easier to read than a list of quotes
)


class _Characters(dict[int, str]):
    """What each character becomes; looked at once."""

    def __missing__(self, code: int) -> str:
        shown, kind = chr(code), category(chr(code))
        if kind[0] not in "LNM":
            shown = f" {shown} " if kind == "So" else " "
        self[code] = shown
        return shown


_characters = _Characters()


def words(text: str) -> list[str]:
    """The words of a text, in its order, as they are indexed."""
    found: list[str] = []
    for run in _runs(text[:TEXT_CHARACTERS]):
        if _IS_EAST.match(run):
            found += run
            found += _pairs(run)
        else:
            found.append(stem(run[:WORD_CHARACTERS]))
    return found


def query_words(text: str) -> list[str]:
    """The different words that a query looks for, in its order: at most `QUERY_WORDS`."""
    runs = _runs(text)
    wanted = [run for run in runs if run not in STOP_WORDS] or runs
    found: dict[str, None] = {}
    for run in wanted:
        if _IS_EAST.match(run):
            found |= dict.fromkeys(_pairs(run) or [run])
        else:
            found[stem(run[:WORD_CHARACTERS])] = None
        if len(found) >= QUERY_WORDS:
            break
    return list(found)[:QUERY_WORDS]


def _runs(text: str) -> list[str]:
    if text.isascii():
        return _WORD.findall(text.lower())
    folded = normalize("NFKC", normalize("NFKC", text).casefold())
    return _RUN.findall(folded.translate(_characters))


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]


_SHORT = 3
_VOWEL = re.compile("[aeiouy]")


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The word without the endings of English that change no meaning.

    Plurals, ``-ing``, ``-ed``, ``-ly`` and a last ``e``: enough that *booked*, *booking* and
    *bookings* are one word. Words that are short, hold a digit or are not ASCII stay.
    """
    if len(word) <= _SHORT or not (word.isascii() and word.isalpha()):
        return word
    word = _without_tense(_without_plural(word))
    if word.endswith("ly") and len(word) > 5:  # noqa: PLR2004 - what is left is a word
        word = word[:-2]
    if len(word) > _SHORT and word.endswith("e"):
        word = word[:-1]
    if word.endswith("y") and len(word) > 2 and not _VOWEL.match(word[-2]):  # noqa: PLR2004
        word = word[:-1] + "i"
    return word


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:  # noqa: PLR2004
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_tense(word: str) -> str:
    for ending in ("ing", "ed"):
        left = word[: -len(ending)]
        if word.endswith(ending) and len(left) >= _SHORT and _VOWEL.search(left):
            doubled = left[-1] == left[-2] and left[-1] not in "aeiouylsz"
            return left[:-1] if doubled else left
    return word
