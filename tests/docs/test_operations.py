"""What docs/operations.md tells to run on a server is enough, and runs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import perdure
from tests.postgres import servers

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Site:
    """A database as the page sets it up; roles are of the whole server, so their names are new."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.suffix = secrets.token_hex(4)
        text = PAGE.read_text(encoding="utf-8")
        self.blocks = [self._renamed(block) for block in SQL.findall(text)]

    def _renamed(self, block: str) -> str:
        return re.sub(r"agents_(owner|app)", rf"agents_\1_{self.suffix}", block)

    def run(self, block: str) -> None:
        """The statements of one block, as the administrator."""
        for statement in block.split(";\n"):
            if statement.strip():
                servers.fetch(self.address, statement)

    def url(self, role: str, password: str) -> str:
        """The store of the page for one of its roles."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"agents_{role}_{self.suffix}:{password}@{host}"
        return parts._replace(netloc=netloc, query="schema=agents").geturl()

    @property
    def owner(self) -> str:
        """The URL of the role that makes the tables."""
        return self.url("owner", "one")

    @property
    def app(self) -> str:
        """The URL of the role that uses them."""
        return self.url("app", "another")


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(servers.fresh_database(servers.server()))
    made.run(made.blocks[0])
    try:
        yield made
    finally:
        for role in ("owner", "app"):
            servers.fetch(made.address, f"DROP OWNED BY agents_{role}_{made.suffix} CASCADE")
            servers.fetch(made.address, f"DROP ROLE agents_{role}_{made.suffix}")
        servers.drop_database(made.address)


@pytest.fixture
def migrated(site: Site) -> Site:
    perdure.open_sync(site.owner).close()
    site.run(site.blocks[1])
    return site


def test_the_role_of_the_agents_can_do_all_that_a_store_does(migrated: Site) -> None:
    with perdure.open_sync(migrated.app, auto_migrate=False) as store:
        key = store.sessions.create("shop", "ada").key
        store.events.append(key, perdure.NewEvent("Hello.", state_delta={"user:city": "London"}))
        store.sessions.fork(key)
        store.sweep()

        assert store.events.count(key) == 1
        assert store.erase_user("shop", "ada") is not None


def test_it_can_neither_make_nor_drop_tables_nor_write_the_ledger(migrated: Site) -> None:
    for statement in (
        "DROP TABLE agents.events",
        "CREATE TABLE agents.mine (id TEXT)",
        "DELETE FROM agents.perdure_migrations",
    ):
        with pytest.raises(servers.asyncpg.InsufficientPrivilegeError):
            servers.fetch(migrated.app.partition("?")[0], statement)


def test_before_the_owner_has_made_the_tables_it_is_told_what_is_missing(site: Site) -> None:
    with pytest.raises(perdure.PerdureError, match="run `perdure migrate`"):
        perdure.open_sync(site.app, auto_migrate=False)
    with pytest.raises(perdure.DeniedError):
        perdure.open_sync(site.app)


def test_every_query_of_the_page_runs(migrated: Site) -> None:
    assert len(migrated.blocks) > 5
    for block in migrated.blocks[2:]:
        migrated.run(block)
