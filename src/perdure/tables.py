"""The one registry of tables: how every row of a person or a session is reached.

Whatever goes through all data (delete, erase, export, sweep) goes through this list. A test
holds it against the real schema, so a table cannot be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table and its columns, in the order of the schema.

    ``session``: its rows hang on a session by (part, uid) and go with it. ``person``: rows
    whose part is a user's belong to that user; only erasures, which outlive them, and outcomes,
    which are gone after a day, do not. Nor do tasks and their runs, whose part is an app's.
    ``json`` columns hold JSON text. ``passing``: what an engine notes for itself for a while.

    For sweeps: ``key`` is the primary key; ``expires`` the column with the moment from which on a
    row by itself is of no use (NULL: never), None if there is no such.
    ``heavy``: rows of up to a mebibyte, which nobody reads all at once. ``together``: when a
    session goes its rows go in one transaction, since what they name goes with the last of them.
    ``bytes`` columns, if there are any, hold bytes and no text.
    ``lineage``: its part is that of a lineage of checkpoints, which goes with whom it is linked to.
    ``names``: the columns by which people know a row, if it is a thing of its own.
    ``found``: what is there to find other rows, and for nobody to read.
    """

    name: str
    columns: tuple[str, ...]
    session: bool = True
    person: bool = True
    json: frozenset[str] = frozenset()
    passing: bool = False
    key: tuple[str, ...] = ()
    expires: str | None = None

    heavy: bool = False
    together: bool = False
    lineage: bool = False
    bytes: frozenset[str] = frozenset({"data"})
    names: tuple[str, ...] = ()
    found: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """What statements for each table of the registry are made with."""
        return {
            "table": self.name,
            "size": self.size,
            "moment": self.moment or "",
            "key": ", ".join(self.key),
            "matches": " AND ".join(f"{name} = :{name}" for name in self.key),
            "tail": ", ".join(self.key[2:]),
            "expires": self.expires or "",
        }

    @property
    def moment(self) -> str | None:
        """The column that says when a row was made, or at least written last."""
        return next((name for name in ("created_at", "updated_at") if name in self.columns), None)

    @property
    def size(self) -> str:
        """The length of a row in SQL, in bytes: of texts, numbers in digits, and bytes."""
        return " + ".join(f"COALESCE({self._length(name)}, 0)" for name in self.columns)

    def _length(self, column: str) -> str:
        if column == "vector":
            return "4 * dimension"
        return f"OCTET_LENGTH({column if column in self.bytes else f'CAST({column} AS TEXT)'})"


_HANGING = ("part", "uid")

#: Those that hang on others first: rows are removed in this order.
TABLES: tuple[Table, ...] = (
    Table(
        "artifacts",
        (
            *_HANGING, "name", "version", "seq", "mime_type", "metadata", "sha256", "size",
            "created_at",
        ),
        json=frozenset({"metadata"}),
        key=(*_HANGING, "name", "version"),
        together=True,
    ),
    Table(
        "artifact_names",
        (*_HANGING, "name", "latest"),
        key=(*_HANGING, "name"),
    ),
    Table(
        "artifact_pieces",
        ("part", "sha256", "number", "data", "created_at"),
        session=False,
        heavy=True,
        key=("part", "sha256", "number"),
    ),
    Table(
        "artifact_blobs",
        ("part", "sha256", "size", "created_at"),
        session=False,
        key=("part", "sha256"),
    ),
    Table(
        "annotations",
        (*_HANGING, "id", "event_id", "name", "value", "author", "created_at"),
        json=frozenset({"value"}),
        key=(*_HANGING, "id"),
    ),
    Table(
        "state_log",
        (*_HANGING, "seq", "version", "delta", "created_at"),
        json=frozenset({"delta"}),
        key=(*_HANGING, "seq", "version"),
    ),
    Table(
        "state",
        (*_HANGING, "name", "value", "codec", "data", "version", "updated_at"),
        json=frozenset({"value"}),
        key=(*_HANGING, "name"),
    ),
    Table("rewrites", (*_HANGING, "version", "from_seq"), key=(*_HANGING, "version")),
    Table(
        "refs",
        (*_HANGING, "name", "head", "created_at"),
        key=(*_HANGING, "name"),
    ),
    Table("session_terms", (*_HANGING, "digest"), key=(*_HANGING, "digest")),
    Table(
        "holds",
        (*_HANGING, "author", "reason", "held_at", "released_at", "released_by"),
        key=_HANGING,
    ),
    Table(
        "memory_ingests",
        (*_HANGING, "spans", "version", "updated_at"),
        json=frozenset({"spans"}),
        key=_HANGING,
    ),
    Table(
        "summaries",
        (
            *_HANGING, "filter_key", "summary", "topics", "covers_seq", "anchor", "version",
            "updated_at",
        ),
        json=frozenset({"summary", "topics"}),
        key=(*_HANGING, "filter_key"),
    ),
    Table(
        "summary_jobs",
        (
            *_HANGING, "filter_key", "tenant", "lease", "options", "asked", "enqueued_at", "due_at",
            "attempts", "error",
        ),
        json=frozenset({"options", "error"}),
        key=(*_HANGING, "filter_key"),
    ),
    Table(
        "run_steps",
        (
            *_HANGING, "run_key", "name_key", "run_id", "name", "value", "codec", "data",
            "created_at", "expires_at",
        ),
        json=frozenset({"value"}),
        key=(*_HANGING, "run_key", "name_key"),
        expires="expires_at",
    ),
    Table(
        "clarifications",
        (
            *_HANGING, "id", "tenant", "app", "user_id", "app_part", "session_id", "digest",
            "question", "context", "options", "sender_context", "status", "answer", "answered_by",
            "created_at", "answered_at", "expires_at",
        ),
        json=frozenset({"options"}),
        key=(*_HANGING, "id"),
    ),
    Table(
        "approval_audit",
        (
            *_HANGING, "id", "number", "created_at", "author", "from_status", "to_status", "rule",
        ),
        key=(*_HANGING, "id", "number"),
    ),
    Table(
        "approvals_remembered",
        (
            *_HANGING, "digest", "tenant", "app", "user_id", "session_id", "thread_id", "tool_name",
            "args_sha256", "approval_id", "created_by", "created_at", "expires_at",
        ),
        key=(*_HANGING, "digest"),
        expires="expires_at",
    ),
    Table(
        "approvals",
        (
            *_HANGING, "id", "tenant", "app", "user_id", "app_part", "session_id", "kind",
            "tool_name", "args", "args_sha256", "status", "thread_id", "run_id", "tool_call_id",
            "call_key", "request", "payload", "codec", "data", "question", "sender_context",
            "created_by", "agent", "created_at", "expires_at", "resolved_at", "resolved_by",
            "feedback", "edited_args", "edited_sha256", "rule", "consumed_at", "closed_at", "steps",
        ),
        json=frozenset({"args", "payload", "edited_args"}),
        key=(*_HANGING, "id"),
    ),
    # After what they are of: an answer locks its row first, and then what it is found by.
    Table(
        "search_blocks",
        (
            *_HANGING, "block", "kind", "app_part", "low_key", "high_key", "documents",
            "length", "docs", "words",
        ),
        json=frozenset({"docs"}),
        key=(*_HANGING, "block"),
        found=True,
    ),
    Table("search_marks", (*_HANGING, "seq", "title"), key=_HANGING, found=True),
    Table(
        "search_vectors",
        (*_HANGING, "kind", "digest", "doc", "model", "dimension", "vector"),
        key=(*_HANGING, "kind", "digest"),
        found=True,
    ),
    Table("history_marks", (*_HANGING, "hidden_upto", "updated_at"), key=_HANGING),
    Table(
        "events",
        (
            *_HANGING, "seq", "prev", "version", "id", "digest", "timestamp", "created_at",
            "author", "run_id", "branch", "filter_key", "kind", "role", "calls", "results",
            "format", "state_delta", "error", "usage", "metadata", "extra", "content", "codec",
            "data", "text",
        ),
        json=frozenset(
            {"calls", "results", "state_delta", "error", "usage", "metadata", "extra", "content"}
        ),
        key=(*_HANGING, "seq"),
    ),
    Table(
        "sessions",
        (
            *_HANGING, "id", "tenant", "app", "user_id", "app_part", "version", "head",
            "left_head", "last_seq", "event_count", "created_at", "updated_at", "last_event_at",
            "ttl", "expires_at", "deleted_at", "title", "author", "agent_type", "tags",
            "metadata", "parent", "origin", "preview", "fence",
        ),
        json=frozenset({"tags", "metadata", "parent", "origin"}),
        key=_HANGING,
        names=("tenant", "app", "user_id", "id"),
    ),
    Table(
        "leases",
        ("part", "name", "owner", "token", "until"),
        session=False,
        key=("part", "name"),
        expires="until",
    ),
    Table(
        "keyvalues",
        (
            "part", "namespace", "key", "value", "codec", "data", "text", "version",
            "created_at", "updated_at", "ttl", "expires_at",
        ),
        session=False,
        json=frozenset({"value"}),
        key=("part", "namespace", "key"),
        expires="expires_at",
    ),
    Table(
        "memory_log",
        ("part", "id", "version", "was"),
        session=False,
        json=frozenset({"was"}),
        key=("part", "id", "version"),
    ),
    Table(
        "memory_tombstones",
        ("part", "digest", "heir", "deleted_at"),
        session=False,
        key=("part", "digest"),
    ),
    Table(
        "memories",
        (
            "part", "id", "digest", "same_by", "version", "text", "topics", "metadata", "agent",
            "author", "session_id", "event_id", "timestamp", "valid_from", "valid_until",
            "superseded_by", "pinned", "expires_at", "created_at", "updated_at",
        ),
        session=False,
        json=frozenset({"topics", "metadata"}),
        key=("part", "id"),
        expires="expires_at",
    ),
    Table(
        "memory_owners",
        ("part", "tenant", "app", "user_id", "version"),
        session=False,
        key=("part",),
    ),
    Table(
        "outbox",
        (
            "part", "id", "hook", "kind", "tenant", "payload", "created_at", "attempts", "due_at",
            "expires_at", "failure",
        ),
        session=False,
        json=frozenset({"payload"}),
        key=("part", "id", "hook"),
        expires="expires_at",
    ),
    Table(
        "checkpoint_links",
        (*_HANGING, "lineage_part", "lineage", "created_at"),
        key=(*_HANGING, "lineage_part"),
        together=True,
    ),
    Table(
        "checkpoint_owners",
        ("part", "owner_part", "uid", "app", "user_id"),
        session=False,
        person=False,
        lineage=True,
        key=("part", "owner_part", "uid"),
    ),
    Table(
        "checkpoint_writes",
        ("part", "ns", "id", "task", "idx", "path", "channel", "value", "codec", "data"),
        session=False,
        person=False,
        lineage=True,
        json=frozenset({"value"}),
        key=("part", "ns", "id", "task", "idx"),
    ),
    Table(
        "checkpoint_values",
        (
            "part", "chain", "depth", "named", "number", "head", "tail", "form", "checksum",
            "codec", "data",
        ),
        session=False,
        person=False,
        lineage=True,
        key=("part", "chain", "depth"),
    ),
    Table(
        "checkpoints",
        (
            "part", "ns", "id", "number", "parent_ns", "parent_id", "digest", "run", "chain",
            "depth", "checksum", "created_at",
        ),
        session=False,
        person=False,
        lineage=True,
        key=("part", "ns", "id"),
    ),
    Table(
        "checkpoint_namespaces",
        ("part", "ns", "namespace", "last", "epoch", "updated_at"),
        session=False,
        person=False,
        lineage=True,
        key=("part", "ns"),
    ),
    Table(
        "checkpoint_lineages",
        ("part", "tenant", "lineage", "created_at", "deleted_at", "fence"),
        session=False,
        person=False,
        lineage=True,
        key=("part",),
    ),
    Table(
        "cron_runs",
        (
            "part", "id", "tenant", "app", "task_id", "task_name", "cause", "alone",
            "scheduled_at", "status", "owner", "until", "started_at", "finished_at", "failure",
            "run_id", "session_part", "session_uid", "expires_at",
        ),
        session=False,
        person=False,
        key=("part", "id"),
        expires="expires_at",
    ),
    Table(
        "cron_tasks",
        (
            "part", "id", "tenant", "app", "name", "expression", "timezone", "action", "enabled",
            "paused_by", "source", "misfire", "misfire_limit", "overlap", "timeout",
            "last_triggered_at", "next_run_at", "version", "created_at", "updated_at",
        ),
        session=False,
        person=False,
        json=frozenset({"action"}),
        key=("part", "id"),
    ),
    Table("erasures", ("part", "erased_at"), session=False, person=False),
    Table("outcomes", ("part", "token", "made_at"), session=False, person=False, passing=True),
)  # fmt: skip
