"""What the pages promise to each other: links that resolve, and every public name told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import perdure
import perdure.testing
from perdure import errors
from perdure.config import Config, resolve
from perdure.handles import SessionHandle
from perdure.operation import flow, operation, reading, stream
from perdure.values import Limits

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
METHODS = (operation, reading, flow, stream)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    return FENCED.sub("", read(path))


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(prose(page)):
            if "://" not in target and not target.startswith("mailto:"):
                yield page, target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        words = LINK.sub(lambda match: match[0][1 : match[0].index("]")], heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = sum(1 for known in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", known))
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def table(page: Path, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by what their first cell quotes."""
    below = read(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in below.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in cells}


def whole_documentation() -> str:
    return "\n".join(read(page) for page in sorted(DOCS.glob("*.md")))


class Asked(Mapping[str, str]):
    """An environment in which nothing is set, and that remembers what was looked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_every_relative_link_leads_somewhere() -> None:
    lost = []
    for page, target in links():
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(f"{page.relative_to(ROOT)}: {target}")

    assert lost == []


def test_the_index_leads_to_every_page() -> None:
    told = {target for page, target in links() if page == DOCS / "index.md"}

    assert [page.name for page in sorted(DOCS.glob("*.md")) if page.name not in told] == [
        "index.md"
    ]


def test_an_anchor_is_made_of_the_words_of_its_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A `code`, and "more"\n\n## Twice\n\n## Twice\n', encoding="utf-8")

    assert anchors(page) == {"a-code-and-more", "twice", "twice-1"}


def test_configuration_tells_of_every_option_and_every_variable() -> None:
    environment = Asked()
    resolve(Config(), environment)
    options = table(DOCS / "configuration.md", "Options")

    assert list(options) == [field.name for field in fields(Config)]
    assert {row[0] for row in options.values()} - {""} == environment.names


def test_configuration_tells_of_every_limit_with_its_default() -> None:
    told = {name: row[0] for name, row in table(DOCS / "configuration.md", "Limits").items()}

    assert told == {field.name: f"{field.default:,}" for field in fields(Limits)}


def test_configuration_tells_of_every_error_as_it_is() -> None:
    known: dict[str, type[errors.PerdureError]] = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.PerdureError)
    }
    rows = table(DOCS / "configuration.md", "Errors")

    assert set(rows) == set(known)
    for name, (bases, code, status, exit_code, _) in rows.items():
        error = known[name]
        told = {base.strip(" `") for base in bases.split(",")} - {""}
        assert told <= {base.__name__ for base in error.__mro__}, name
        assert (code, status, exit_code) == (
            error.code,
            str(error.http_status),
            str(error.exit_code),
        )


@pytest.mark.parametrize("module", [perdure, perdure.testing], ids=lambda module: module.__name__)
def test_every_public_name_is_told_of(module: Any) -> None:
    pages = whole_documentation()

    assert [name for name in module.__all__ if not re.search(rf"\b{name}\b", pages)] == []


@pytest.mark.parametrize(
    "owner",
    [
        "store",
        "sessions",
        "events",
        "state",
        "kv",
        "artifacts",
        "summaries",
        "steps",
        "memory",
        "clarifications",
        "approvals",
        "cron",
        "history",
        "recovery",
    ],
)
def test_every_public_method_is_told_of(owner: str) -> None:
    with perdure.open_sync("memory:") as store:
        found: Any = store if owner == "store" else getattr(store, owner)
        kind = type(found() if owner in {"history", "recovery"} else found)
    pages = whole_documentation()

    assert [name for name in public_methods(kind) if not told(owner, name, pages)] == []


def public_methods(owner: type[Any]) -> list[str]:
    return [
        name
        for base in owner.__mro__
        if base.__module__.startswith("perdure")
        for name, value in vars(base).items()
        if not name.startswith("_") and (isinstance(value, METHODS) or callable(value))
    ]


def told(owner: str, method: str, pages: str) -> bool:
    """Whether a page calls it, or speaks of it by its name."""
    return re.search(rf"\b{owner}\.{method}\b|`{method}(\(.*?\))?`", pages) is not None


def test_every_member_of_a_handle_is_told_of() -> None:
    names = [name for name in vars(SessionHandle) if not name.startswith("_")]
    with perdure.open_sync("memory:") as store:
        names += [name for name in vars(store.session("app", "user")) if not name.startswith("_")]
    page = read(DOCS / "sessions.md")

    assert [name for name in names if name != "name" and f"`{name}" not in page] == []
