"""``perdure distribute``, against stand-ins for Citus: see tests/postgres/citus.py."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest

import perdure as library
from tests.cli.command import Perdure, on_terminal

# It skips this module where there is no driver, and so no PostgreSQL.
servers = pytest.importorskip("tests.postgres.servers")


@pytest.fixture
def citus() -> Iterator[str]:
    from tests.postgres.citus import stand_in  # noqa: PLC0415 - needs a driver

    url = servers.fresh_database(servers.server())
    library.open_sync(url).close()
    stand_in(url)
    yield url
    servers.drop_database(url)


def test_each_table_is_a_line_and_the_second_time_there_is_none(
    perdure: Perdure, citus: str
) -> None:
    missing = perdure("distribute", "--check", "--url", citus)
    done = perdure("distribute", "--url", citus)
    again = perdure("distribute", "--url", citus)
    checked = perdure("distribute", "--check", "--url", citus)

    names = [line.removeprefix("would distribute ") for line in missing.out.splitlines()]
    assert missing.code == 8
    assert names[0] == "sessions"
    assert "events" in names
    assert (done.code, done.out.splitlines()) == (0, [f"distributed {name}" for name in names])
    assert "truncate_local_data_after_distributing_table" in done.err
    assert (again.code, again.out, again.err) == (0, "", "every table is distributed\n")
    assert (checked.code, checked.out, checked.err) == (0, "", "every table is distributed\n")


def test_a_program_gets_one_document(perdure: Perdure, citus: str) -> None:
    local = json.loads(perdure("distribute", "--check", "--json", "--url", citus).out)["local"]

    result = perdure("distribute", "--json", "--url", citus)

    assert local[0] == "sessions"
    assert (json.loads(result.out), result.err) == ({"distributed": local}, "")
    assert json.loads(perdure("distribute", "--json", "--url", citus).out) == {"distributed": []}
    assert json.loads(perdure("distribute", "--check", "--json", "--url", citus).out) == {
        "local": []
    }


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_person_sees_how_long_each_table_took(citus: str) -> None:
    result = on_terminal(citus, "distribute", "--quiet")

    assert result.code == 0
    assert re.search(r"^distributed sessions  \d+\.\d s$", result.out, re.MULTILINE)
    assert "would" not in result.out


def test_where_it_cannot_be_the_reason_is_said(perdure: Perdure) -> None:
    url = servers.fresh_database(servers.server())
    library.open_sync(url).close()

    plain = perdure("distribute", "--url", url)
    file = perdure("distribute")
    memory = perdure("distribute", "--check", "--url", "memory:")

    assert plain.code == file.code == memory.code == library.UnsupportedError.exit_code
    assert "CREATE EXTENSION citus" in plain.err
    assert "beyond-one-machine" in plain.err
    assert "only a PostgreSQL database with Citus" in file.err
    assert "only a PostgreSQL database with Citus" in memory.err
    servers.drop_database(url)
