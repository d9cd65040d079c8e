"""``perdure doctor``: what is wrong with the store, and what can be saved of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from perdure.cli.clean import clean
from perdure.cli.commands import Command
from perdure.cli.drawing import paint
from perdure.cli.invocation import Invocation
from perdure.cli.schema import CHECK_FAILED
from perdure.cli.tables import separated
from perdure.cli.upkeep import readable
from perdure.examining import Examination, Finding, Salvaged, examine_store, salvage_store


@click.command("doctor", cls=Command)
@click.option("--quick", is_flag=True, help="Do not read all that is stored.")
@click.option(
    "--salvage",
    metavar="DIR",
    type=click.Path(),
    help="Write what can be read of a JSONL directory to a new one.",
)
@click.pass_obj
def doctor(invocation: Invocation, quick: bool, salvage: str | None) -> None:
    """Look for damage; exit code 8 if there is some.

    Changes nothing and locks nothing: it may be run beside an agent, and on a store that does not
    open. In a pipe: tab-separated `fault` or `note`, place, line, what.
    """
    if salvage is not None and quick:
        raise click.UsageError("--salvage reads all of it: not with --quick")
    invocation.check_there()
    if salvage is not None:
        _salvage(invocation, os.path.abspath(salvage))
        return
    found = examine_store(invocation.resolved, quick=quick)
    if invocation.form != "text":
        invocation.document(_document(invocation, found))
    elif invocation.look.laid_out:
        invocation.lines(_laid_out(invocation, found))
    else:
        invocation.lines(separated([*_rows("fault", found.faults), *_rows("note", found.notes)]))
    if not found.healthy:
        raise click.exceptions.Exit(CHECK_FAILED)


def _document(invocation: Invocation, found: Examination) -> dict[str, Any]:
    return {
        "url": invocation.resolved.display_url,
        "healthy": found.healthy,
        "facts": found.facts,
        "faults": [asdict(one) for one in found.faults],
        "notes": [asdict(one) for one in found.notes],
    }


def _rows(kind: str, findings: Iterable[Finding]) -> Iterator[Sequence[str]]:
    for one in findings:
        yield kind, one.place, "" if one.line is None else str(one.line), one.what


def _laid_out(invocation: Invocation, found: Examination) -> Iterator[str]:
    facts = {"url": invocation.resolved.display_url, **_shown(found.facts)}
    width = max(map(len, facts))
    yield from (f"{name.ljust(width)}  {clean(value)}" for name, value in facts.items())
    yield ""
    for sign, style, findings in (("!", "bad", found.faults), ("-", "dim", found.notes)):
        for one in findings:
            where = one.place if one.line is None else f"{one.place}, line {one.line}"
            yield paint(f"{sign} ", style, invocation.look) + clean(f"{where}: {one.what}")
    count = len(found.faults)
    yield f"{count} {'fault' if count == 1 else 'faults'}" if count else "nothing is wrong"


def _shown(facts: Mapping[str, Any]) -> dict[str, str]:
    shown = {}
    for name, value in facts.items():
        words = name.replace("_", " ")
        if name == "writer":
            shown["written by"] = _writer(value) if value else "nobody"
        elif name.endswith("bytes") or name == "reclaimable":
            shown[words] = readable(value)
        else:
            shown[words] = f"{value:,}" if isinstance(value, int) else str(value)
    return shown


def _writer(who: Mapping[str, Any]) -> str:
    state = {True: "", False: ", which has ended", None: ", on another machine"}[who.get("runs")]
    said = f"process {who.get('pid')} on {who.get('host')} since {who.get('since')}"
    return f"{said} ({who.get('program')}){state}"


def _salvage(invocation: Invocation, folder: str) -> None:
    saved = salvage_store(invocation.resolved, folder)
    if invocation.form != "text":
        invocation.documents(one.document for one in saved)
    else:
        invocation.texts(_saved(one) for one in saved)
    invocation.note(f"what could be read is in {folder}; nothing else was changed")
    if any(one.lost for one in saved):
        raise click.exceptions.Exit(CHECK_FAILED)


def _saved(one: Salvaged) -> str:
    source = " and ".join(f"the {name}" for name in one.taken_from) or "nothing"
    how = f"{one.rows:,} rows" if one.rows else f"{one.lines:,} lines"
    lost = f"; lost: {', '.join(one.lost)}" if one.lost else ""
    return f"{one.path}: {how} from {source}{lost}"
