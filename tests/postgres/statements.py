"""Every named statement of perdure, and those that may ask more than one part."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib.resources import files

from perdure.operation import Query
from perdure.sql import load

#: Reads that go through a whole app, a whole tenant or everything. A sharded database asks all
#: its machines for them; all others ask one.
BY_MANY_PARTS = {
    "approvals.closed": "a sweep",
    "approvals.count_overdue": "a sweep",
    "approvals.list app": "of an app",
    "approvals.list tenant": "of a tenant",
    "approvals.overdue": "a sweep",
    "approvals.remembered tenant": "of a tenant",
    "approvals.unattended": "what is pending in a tenant, after a restart",
    "approvals.weigh_closed": "a sweep",
    "checkpoints.lineages": "the lineages of a tenant",
    "checkpoints.of_run": "the checkpoints of a run, in all lineages",
    "checkpoints.page same_id": "of all lineages",
    "checkpoints.page same_put": "of all lineages",
    "checkpoints.page tenant_id": "of all lineages",
    "checkpoints.page tenant_put": "of all lineages",
    "checkpoints.where same": "in all lineages",
    "checkpoints.where tenant": "in all lineages",
    "checkpoints.worth_pruning": "what a sweep looks for",
    "sizes.lineages": "a report of the whole database",
    "cron.due": "what schedulers look for",
    "cron.next_due": "what schedulers look for",
    "cron.runs tenant": "of a tenant",
    "cron.stale": "what schedulers look for",
    "cron.tasks tenant": "of a tenant",
    "cron.waiting": "what schedulers look for",
    "fulltext.newest app": "a search in all of an app",
    "events.locate": "an event by its id alone, in all sessions of an app",
    "keyvalues.count_expired": "a sweep",
    "keyvalues.expired": "a sweep",
    "search.lacking_since": "what is not indexed of an app, for a worker",
    "search.lacking app": "what is not indexed, of an app",
    "search.lacking tenant": "what is not indexed, for workers",
    "sessions.count app": "of an app",
    "sessions.count tenant": "of a tenant",
    "sessions.list app": "of an app",
    "sessions.list tenant": "of a tenant",
    "sessions.list_stated app": "of an app",
    "sessions.list_stated tenant": "of a tenant",
    "outbox.due": "what the sender of webhooks looks for",
    "outbox.next": "what the sender of webhooks looks for",
    "sweeping.doomed": "what a sweep looks for",
    "sweeping.with_old_events": "what a sweep looks for",
    "sweeping.useless": "what a sweep looks for",
    "sweeping.weigh_useless": "what a sweep looks for",
    "memory.expired": "a sweep",
    "memory.count_expired": "a sweep",
    "summaries.due": "the queue of a worker",
    "summaries.jobs tenant": "of a tenant",
    "sizes.apps": "a report of the whole database",
    "sizes.grown": "the same",
    "sizes.held": "the same",
    "sizes.owners": "the same",
    "clarifications.list app": "of an app",
    "clarifications.list tenant": "of a tenant",
    "clarifications.overdue": "a sweep",
    "clarifications.count_overdue": "a sweep",
    "clarifications.old": "a sweep",
    "clarifications.weigh_old": "a sweep",
    "usage.sessions app": "a report of an app",
    "usage.sessions tenant": "a report of a tenant",
}

#: What touches state of the user, and of the user's app, which is another part.
BY_TWO_PARTS = {
    "checkpoints.copy_checkpoints": "from one lineage into another",
    "checkpoints.copy_namespaces": "the same",
    "checkpoints.copy_values": "the same",
    "checkpoints.copy_writes": "the same",
    "events.append_many*keys": "state of session, user and app, with the event",
    "events.append_one*keys": "state of session, user and app, with the event",
    "state.merged": "the state of the app is merged in",
}


def named(package: str) -> dict[str, Query]:
    """The statements of all files of that package, each as ``file.name choice choice``."""
    return {
        f"{file.name.removesuffix('.sql')}.{query.name}": query
        for file in files(package).iterdir()
        if file.name.endswith(".sql") and not file.name[0].isdigit()
        for query in load(package, file.name)
    }


FEATURES = named("perdure.features")
EVERY = {**FEATURES, **named("perdure.engines"), **named("perdure.migrations")}
POSTGRES = {name: query for name, query in EVERY.items() if "postgres" in query.texts}


def is_of(name: str, listed: Iterable[str]) -> bool:
    """Whether the statement, or the choices that its name begins with, are in the list."""
    return any(fnmatchcase(name, begin) or fnmatchcase(name, f"{begin} *") for begin in listed)
