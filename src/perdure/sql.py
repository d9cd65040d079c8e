"""Loads the named statements of a feature's ``.sql`` file.

A file is a list of blocks. ``-- name: claim_version`` starts a statement, ``-- name:
search[postgres]`` its variant for one dialect, ``-- define: columns`` a fragment that others
use as ``{columns}``. ``-- for: way = up: ASC | down: DESC`` below a name declares a closed
choice: the statement exists once for each of its labels; ``@session``, ``@person`` and
their like stand for the tables of the registry that are such, and the names before them for their
`facts`. Parameters are ``:names``. Nothing that a caller passes
ever becomes part of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import product

from perdure.operation import Query
from perdure.tables import TABLES

DIALECTS: Mapping[str, str] = {"sqlite": "?", "postgres": "$"}
"""Each dialect with the sign that stands before the number of a parameter."""

_REGISTRY = {
    "@session": [table for table in TABLES if table.session],
    "@person": [table for table in TABLES if table.person],
    "@lineage": [table for table in TABLES if table.lineage],
    "@expiring": [table for table in TABLES if table.expires],
    "@events": [table for table in TABLES if table.name == "events"],
    "@many": [table for table in TABLES if table.session and table.key[2:] and not table.together],
    "@sized": [table for table in TABLES if not table.passing],
    "@dated": [table for table in TABLES if table.moment and not table.passing],
}
_HEADING = re.compile(r"^-- (name|define|for): *(.+?) *$")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_FRAGMENT = re.compile(r"\{(\w+)\}")


@dataclass(slots=True)
class _Block:
    kind: str
    name: str
    choices: list[dict[str, dict[str, str]]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip().rstrip(";")


class Statements:
    """The statements of one file, as attributes: ``sql.claim_version(part=…, uid=…)``."""

    def __init__(self, blocks: Sequence[_Block]) -> None:
        self._defined = {block.name: block.text for block in blocks if block.kind == "define"}
        self._blocks: dict[str, dict[str, _Block]] = {}
        for block in blocks:
            if block.kind == "name":
                name, _, dialect = block.name.rstrip("]").partition("[")
                self._blocks.setdefault(name, {})[dialect] = block
        self._queries: dict[tuple[str, ...], Query] = {}

    def __getattr__(self, name: str) -> Query:
        query = self.pick(name)
        # Found without this method the next time.
        self.__dict__[name] = query
        return query

    def pick(self, name: str, *labels: str) -> Query:
        """The statement with these values of its choices, in the order they are declared."""
        query = self._queries.get((name, *labels))
        if query is None:
            if name not in self._blocks:
                raise AttributeError(f"no statement is named {name!r}")
            query = self._queries[name, *labels] = self._make(name, labels)
        return query

    def __iter__(self) -> Iterator[Query]:
        """Every statement, with every value of its choices."""
        for name, variants in self._blocks.items():
            choices = next(iter(variants.values())).choices
            for labels in product(*choices):
                yield self.pick(name, *labels)

    def _make(self, name: str, labels: Sequence[str]) -> Query:
        variants = {}
        for dialect, block in self._blocks[name].items():
            fragments = dict(self._defined)
            for label, choice in zip(labels, block.choices, strict=True):
                fragments |= choice[label]
            text = block.text
            while _FRAGMENT.search(text):
                text = _replaced(_FRAGMENT, text, fragments)
            variants[dialect] = text
        return _query(" ".join((name, *labels)), variants)


@cache
def load(package: str, filename: str) -> Statements:
    """The statements of a file that ships in the package."""
    return parse(files(package).joinpath(filename).read_text(encoding="utf-8"))


def parse(source: str) -> Statements:
    """The statements of a text in the form that this module describes."""
    blocks: list[_Block] = []
    for line in source.splitlines():
        heading = _HEADING.match(line)
        if heading is None:
            if blocks and not line.startswith("--"):
                blocks[-1].lines.append(line)
        elif heading[1] == "for":
            blocks[-1].choices.append(_choices(heading[2]))
        else:
            blocks.append(_Block(heading[1], heading[2]))
    return Statements(blocks)


def _choices(text: str) -> dict[str, dict[str, str]]:
    """``way, beyond = up: ASC, > | down: DESC, <``: each label with its fragments."""
    left, _, right = text.partition("=")
    names = [name.strip() for name in left.split(",")]
    if right.strip() in _REGISTRY:
        tables = _REGISTRY[right.strip()]
        return {table.name: {name: table.facts[name] for name in names} for table in tables}
    found = {}
    for value in right.split("|"):
        label, colon, fragments = value.strip().partition(":")
        texts = fragments.split(",", len(names) - 1) if colon else [label]
        found[label.strip()] = dict(zip(names, map(str.strip, texts), strict=True))
    return found


def _query(name: str, variants: Mapping[str, str]) -> Query:
    orders = [tuple(dict.fromkeys(_PARAMETER.findall(text))) for text in variants.values()]
    params = max(orders, key=len)
    texts = {}
    for dialect, sign in DIALECTS.items():
        text = variants.get(dialect, variants.get(""))
        if text is not None:
            numbers = {param: f"{sign}{n}" for n, param in enumerate(params, 1)}
            texts[dialect] = _replaced(_PARAMETER, text, numbers)
    return Query(name, texts, params)


def _replaced(pattern: re.Pattern[str], text: str, by: Mapping[str, str]) -> str:
    return pattern.sub(lambda match: by[match[1]], text)
