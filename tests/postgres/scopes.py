"""Which part each table of a statement is asked for, as far as the text alone can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from perdure.operation import Query
from perdure.tables import TABLES

_NAMES = "|".join(table.name for table in TABLES)
_NO_ALIAS = r"(?!(?:SET|WHERE|JOIN|LEFT|CROSS|ON|ORDER|GROUP|LIMIT|UNION|VALUES|SELECT|DO)\b)"
_TABLE = re.compile(
    rf"(?P<verb>\bFROM|\bJOIN|\bUPDATE|\bINTO|,)\s+(?P<table>{_NAMES})\b(?!\s*\.)"
    rf"(?:\s+(?:AS\s+)?{_NO_ALIAS}(?P<alias>[a-z_]+))?"
)
_EQUAL = re.compile(r"(?<![\w.])((?:[a-z_]+\.)?part) = ((?:[a-z_]+\.)?part\b|\$\d+)")
_INSERTED = re.compile(
    r"\bINTO\s+\w+\s*\(\s*part\b[^)]*\)\s*(?:VALUES \(|SELECT )\s*"
    r"(?:CAST\()?(\$\d+|(?:[a-z_]+\.)?part\b)"
)


@dataclass(eq=False)
class Scope:
    """A SELECT, INSERT, UPDATE or DELETE, without those inside it."""

    parent: Scope | None
    text: str = ""
    inner: list[Scope] = field(default_factory=list)

    def tables(self) -> list[tuple[str, str]]:
        """Each table and the name it goes by; the target of an INSERT is not among them."""
        return [
            (found["table"], found["alias"] or found["table"])
            for found in _TABLE.finditer(self.text)
            if found["verb"] != "INTO"
        ]

    def walk(self) -> Iterator[Scope]:
        """This one and all inside it."""
        yield self
        for scope in self.inner:
            yield from scope.walk()


def scopes(text: str) -> list[Scope]:
    """The statement taken apart."""
    root = Scope(None)
    stack: list[Scope | None] = [root]
    current = root
    for token in re.split(r"([()]|\bUNION ALL\b)", re.sub(r"'[^']*'", "''", text)):
        match token:
            case "(":
                stack.append(current)
                current.text += "("
                current = Scope(current)
            case ")":
                outer = stack.pop()
                assert outer is not None
                if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", current.text):
                    outer.inner.append(current)
                else:
                    outer.text += current.text
                    outer.inner += current.inner
                outer.text += ")"
                current = outer
            case "UNION ALL":
                # What follows is a scope of its own, as far as names go.
                current.inner.append(Scope(current.parent, current.text, current.inner))
                current.text, current.inner = "", [current.inner.pop()]
            case _:
                current.text += token
    return list(root.walk())


def unbound(query: Query) -> list[str]:
    """The tables that the statement asks for more than one part, by its text."""
    params = {f"${n}": name for n, name in enumerate(query.params, 1)}
    found = scopes(query.texts["postgres"])
    bound = _bound(found, params)
    missing = [
        table
        for scope in found
        for table, alias in scope.tables()
        if (id(scope), alias) not in bound
    ]
    return missing + [table for scope in found for table in _inserted(scope, params, bound)]


def _inserted(scope: Scope, params: dict[str, str], bound: set[tuple[int, str]]) -> Iterator[str]:
    """The target of an INSERT whose first column is not a part that is bound."""
    if "INSERT INTO" not in scope.text:
        return
    found = _INSERTED.search(scope.text)
    name = found and _name(scope, found[1], params)
    if name not in bound and name not in _PARTS:
        yield scope.text.split("INSERT INTO")[1].split()[0]


_PARTS = {(0, "part"), (0, "owner"), (0, "app_part")}


def _bound(found: list[Scope], params: dict[str, str]) -> set[tuple[int, str]]:
    """Every name whose part is a parameter, be it by way of another table's."""
    pairs = [
        (_name(scope, left, params), _name(scope, right, params))
        for scope in found
        for left, right in _EQUAL.findall(_conjunction(scope.text))
    ]
    known = set(_PARTS)
    while True:
        more = {name for pair in pairs for name in pair if known & set(pair)} - known
        if not more:
            return known
        known |= more


def _conjunction(text: str) -> str:
    """The text without what only one side of an OR says."""
    return "" if re.search(r"\bpart = [^()]*\bOR\b[^()]*\bpart = ", text) else text


def _name(scope: Scope, side: str, params: dict[str, str]) -> tuple[int, str]:
    if side.startswith("$"):
        return 0, params[side]
    alias, dot, _ = side.partition(".")
    if not dot:
        tables = scope.tables()
        return (id(scope), tables[0][1]) if len(tables) == 1 else (-1, "")
    at: Scope | None = scope
    while at is not None:
        if alias in {name for _, name in at.tables()}:
            return id(at), alias
        at = at.parent
    return -1, alias
