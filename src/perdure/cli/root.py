"""``perdure`` itself: its nouns and verbs, none of them loaded before it is asked for."""

from __future__ import annotations

import click

from perdure import __version__
from perdure.cli.commands import Group, Lazy

_LAZY = {
    "sessions": Lazy("sessions:sessions", "List, show, describe, copy and remove sessions."),
    "ls": Lazy("sessions:ls", "The same as `sessions ls`."),
    "show": Lazy("sessions:show", "The same as `sessions show`."),
    "summaries": Lazy("summaries:summaries", "List, show, write, make and remove summaries."),
    "tail": Lazy("tailing:tail", "The latest events, and those to come."),
    "kv": Lazy("keyvalues:kv", "List, show, set and remove key-values."),
    "artifacts": Lazy("artifacts:artifacts", "The files of a session or a user."),
    "checkpoints": Lazy("checkpoints:checkpoints", "The steps of graphs, and what changed."),
    "memory": Lazy("memory:memory", "What is remembered of a user: list, find, add, edit, remove."),
    "clarifications": Lazy(
        "clarifications:clarifications", "What agents ask people: list, show, answer."
    ),
    "approvals": Lazy("approvals:approvals", "What waits for a person: list, answer, watch."),
    "search": Lazy("searching:search", "What answers a query, of a user or an app."),
    "import": Lazy("importing:importing", "Bring in conversations that are kept elsewhere."),
    "export": Lazy("people:export", "Everything of a person, as JSON lines."),
    "usage": Lazy("usage:usage", "The tokens that were spent, by user, model and day."),
    "du": Lazy("sizes:du", "How much is stored, by app, user and table."),
    "erase": Lazy("people:erase", "Remove everything of a person for good."),
    "sweep": Lazy("upkeep:sweep", "Purge what has expired."),
    "prune": Lazy("pruning:prune", "Delete the oldest events of sessions."),
    "cron": Lazy("cron:cron", "Tasks that run by the clock, and what became of their runs."),
    "worker": Lazy("working:worker", "Run what is done by itself, until it is stopped."),
    "migrate": Lazy("schema:migrate", "Bring the schema of the store up to date."),
    "distribute": Lazy(
        "distributing:distribute", "Spread the tables over the machines of a Citus cluster."
    ),
    "doctor": Lazy("doctoring:doctor", "What is wrong with the store, and saving what can be."),
    "compact": Lazy("compacting:compact", "Give back the room of what was removed."),
    "status": Lazy("upkeep:status", "Where the store is, and how much is in it."),
    "demo": Lazy("demo:demo", "See a store at work."),
    "completion": Lazy("completion:completion", "Completion for bash, zsh or fish."),
}


@click.group(
    cls=Group,
    lazy=_LAZY,
    root=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="perdure", message="%(prog)s %(version)s")
def root() -> None:
    """A durable store for AI agents: look into it, fill it, keep it tidy.

    A terminal gets tables and colour, a pipe gets tab-separated lines, --json everything.
    Session ids may be shortened as long as they are unique.
    """
