"""``perdure migrate``: the tables of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from perdure.cli.commands import Command
from perdure.cli.invocation import Invocation
from perdure.migrations import LEDGER, migrations
from perdure.operation import Query
from perdure.schema import migrate_store, missing_migrations

CHECK_FAILED = 8


@click.command("migrate", cls=Command)
@click.option("--check", is_flag=True, help="Change nothing; exit code 8 if something is missing.")
@click.option("--print", "print_", is_flag=True, help="Print the SQL that is missing, run nothing.")
@click.pass_obj
def migrate(invocation: Invocation, check: bool, print_: bool) -> None:
    """Bring the schema of the store up to date.

    Opening a store does the same, unless PERDURE_AUTO_MIGRATE is off.
    """
    if check and print_:
        raise click.UsageError("--check and --print are two things: say one of them")
    if print_ and invocation.resolved.url.startswith("jsonl:"):
        raise click.UsageError("plain files take no SQL: `perdure migrate` writes them anew")
    if print_:
        invocation.lines(script(invocation, _missing(invocation)))
    elif check:
        invocation.check_there()
        missing = _missing(invocation)
        _tell(invocation, "missing", missing)
        if missing:
            raise click.exceptions.Exit(CHECK_FAILED)
    else:
        _tell(invocation, "applied", migrate_store(invocation.resolved))


def _missing(invocation: Invocation) -> list[str]:
    if not invocation.is_there:
        return [migration.name for migration in migrations()]
    return missing_migrations(invocation.config)


def _tell(invocation: Invocation, what: str, names: Sequence[str]) -> None:
    if invocation.form != "text":
        invocation.document({what: list(names)})
    elif names:
        invocation.lines(f"{what} {name}" for name in names)
    else:
        invocation.note("the schema is up to date")


def script(invocation: Invocation, names: Sequence[str]) -> Iterator[str]:
    """The SQL of these migrations, with what notes that they were applied."""
    if not names:
        return
    dialect = "postgres" if invocation.resolved.url.startswith("postgres") else "sqlite"
    now = invocation.resolved.settings.clock()
    yield "BEGIN;"
    yield f"{LEDGER.create.texts[dialect]};"
    for one in migrations():
        if one.name in names:
            yield f"-- {one.number:04} {one.name}"
            yield from (f"{statement};" for statement in one.statements(dialect))
            values: dict[str, int | str] = {
                "number": one.number, "name": one.name, "checksum": one.checksum, "now": now,
            }  # fmt: skip
            yield f"{_spelled(LEDGER.note, dialect, values)};"
    yield "COMMIT;"


def _spelled(query: Query, dialect: str, values: dict[str, int | str]) -> str:
    """A statement with its values in place; they are perdure's own, and have no quotes."""
    text = query.texts[dialect]
    for place, name in enumerate(query.params, 1):
        value = values[name]
        literal = f"'{value}'" if isinstance(value, str) else str(value)
        for sign in "?$":
            text = text.replace(f"{sign}{place}", literal)
    return text
