"""Asking a schema about statements: do they parse, with which types, by which plan."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from perdure.engines.postgres_connection import dsn_of, quoted
from tests.postgres.servers import asyncpg

APP_PART = "md5('app')"
USER_PART = "md5('user7')"

_FILL = [
    """
    INSERT INTO sessions
    SELECT md5('user' || u), 'u' || s, 's' || s, 'tenant', 'app', 'user' || u, md5('app'), {e} + 1,
        {e}, {e}, {e}, {e}, s, 1000 * u + s, s, NULL, CASE s WHEN 3 THEN 2 END,
        CASE s WHEN 4 THEN 2 END, 'Title', '', '', '[]', '[]', NULL, NULL, 'hello', 1
    FROM generate_series(1, {u}) u, generate_series(1, {s}) s
    """,
    "INSERT INTO session_terms SELECT part, uid, 'd1' FROM sessions WHERE uid <> 'u2'",
    """
    INSERT INTO events
    SELECT part, uid, e, CASE e WHEN 5 THEN 2 ELSE e - 1 END, e + 1, 'e' || e, 'd' || e, e, e, '',
        'run', '', '', 'message', 'user', NULL, NULL, 'plain', CASE e % 4 WHEN 1 THEN '{{}}' END,
        NULL, NULL, NULL, NULL, '"hello"', NULL, NULL, 'hello'
    FROM sessions, generate_series(1, {e}) e WHERE uid <> 'u2'
    """,
    "INSERT INTO refs SELECT part, uid, 'left', 4, 1 FROM sessions",
    "INSERT INTO rewrites SELECT part, uid, 3, 2 FROM sessions",
    """
    INSERT INTO state
    SELECT part, uid, 'k' || k, '1', NULL, NULL::BYTEA, 1, 1 FROM sessions, generate_series(1, 3) k
    UNION ALL
    SELECT md5('user' || u), '', 'k' || k, '1', NULL, NULL, 1, 1
    FROM generate_series(1, {u}) u, generate_series(1, 3) k
    UNION ALL
    SELECT md5('app'), '', 'k' || k, '1', NULL, NULL, 1, 1 FROM generate_series(1, 3) k
    """,
    "INSERT INTO state_log SELECT part, uid, 2, 3, '{{}}', 1 FROM sessions",
    "INSERT INTO annotations SELECT part, uid, 'a1', 'e1', 'score', '1', '', 1 FROM sessions",
    "INSERT INTO holds SELECT part, uid, '', 'case', 1, NULL, '' FROM sessions WHERE uid = 'u1'",
    "INSERT INTO leases SELECT md5('user' || u), 'k1', 'me', 1, 1 FROM generate_series(1, {u}) u",
    """
    INSERT INTO keyvalues
    SELECT md5('user' || u), 'n' || k % 5 || '!', 'k' || k, '1', NULL, NULL::BYTEA, '', 1, k, k,
        CASE k % 10 WHEN 0 THEN 5 END, CASE k % 10 WHEN 0 THEN 5 END
    FROM generate_series(1, {u}) u, generate_series(1, 30) k
    """,
    "INSERT INTO memory_owners SELECT DISTINCT part, tenant, app, user_id, 1 FROM sessions",
    """
    INSERT INTO memories
    SELECT md5('user' || u), 'm' || m, 'd' || m, 'content', 1, 'text', '[]', '{{}}', '', '',
        's' || m % 4, '', m, NULL, NULL, NULL, 0, CASE m WHEN 3 THEN 2 END, m, m
    FROM generate_series(1, {u}) u, generate_series(1, {s} + 8) m
    """,
    "INSERT INTO memory_log SELECT part, id, 1, '[]' FROM memories",
    """
    INSERT INTO memory_tombstones
    SELECT part, 'gone' || n, '', 1 FROM memory_owners, generate_series(1, {s}) n
    """,
    "INSERT INTO memory_ingests SELECT part, uid, '[[1,2]]', 1, 1 FROM sessions WHERE uid <> 'u2'",
    """
    INSERT INTO artifact_blobs SELECT md5('user' || u), 'd' || d, 5, 1
    FROM generate_series(1, {u}) u, generate_series(4, 30) d
    """,
    "INSERT INTO artifact_pieces SELECT part, sha256, 0, 'hello'::BYTEA, 1 FROM artifact_blobs",
    """
    INSERT INTO artifact_names SELECT part, uid, 'k1', 3 FROM sessions WHERE uid <> 'u2'
    """,
    """
    INSERT INTO artifacts SELECT part, uid, 'k1', v, 1, 'text/plain', '{{}}', 'd' || (4 + v), 5, 1
    FROM sessions, generate_series(0, 20) v WHERE uid <> 'u2'
    """,
    "INSERT INTO summaries SELECT part, uid, 'f1', '\"s\"', '[]', 5, NULL, 1, 1 FROM sessions",
    """
    INSERT INTO summary_jobs
    SELECT part, uid, 'f1', 'tenant', 'l' || uid, '{{}}', 1, 1, 1, 0, NULL FROM sessions
    """,
    "INSERT INTO history_marks SELECT part, uid, 2, 1 FROM sessions",
    """
    INSERT INTO search_blocks
    SELECT part, uid, '0-' || uid, 'events', app_part, '1', '2', 2, 4, '[]', ' ' FROM sessions
    """,
    "INSERT INTO search_marks SELECT part, uid, 4, title FROM sessions",
    """
    INSERT INTO search_vectors
    SELECT part, uid, 'events', 'd1', '5', 'model', 1, ARRAY[1] FROM sessions
    """,
    """
    INSERT INTO outbox
    SELECT part, id, 'h1', 'kind', 'tenant', '{{}}', 1, 0, 1, 2000000, '' FROM sessions
    """,
    """
    INSERT INTO clarifications
    SELECT part, uid, id, 'tenant', app, user_id, app_part, id, 'd' || id, 'question', '', '[]', '',
        CASE created_at % 3 WHEN 0 THEN 'answered' ELSE 'pending' END, NULL, '', created_at, 5,
        CASE created_at % 3 WHEN 1 THEN 10 END
    FROM sessions WHERE uid <> 'u2'
    """,
    """
    INSERT INTO approvals
    SELECT part, uid, CASE uid WHEN 'u1' THEN 'a' || n ELSE uid || '-' || n END, tenant, app,
        user_id, app_part, id, 'tool', 'send', '{{}}', 'd1',
        CASE n % 3 WHEN 0 THEN 'pending' WHEN 1 THEN 'approved' ELSE 'rejected' END, 't1', 'run',
        'c', uid || '-' || n, 'r', 'null', NULL, NULL::BYTEA, '', '', '', '', n,
        CASE n WHEN 4 THEN 2 END, NULL, '', '', NULL, NULL, '', NULL,
        CASE n % 3 WHEN 2 THEN n END, 1
    FROM sessions, generate_series(1, 12) n
    """,
    "INSERT INTO approval_audit SELECT part, uid, id, 1, 1, '', '', 'pending', '' FROM approvals",
    """
    INSERT INTO approvals_remembered
    SELECT part, uid, 'd' || n, tenant, app, user_id, id, 't1', 'send', NULL, 'a1', '', 500, 2000000
    FROM sessions, generate_series(1, 6) n
    """,
    """
    INSERT INTO checkpoint_lineages
    SELECT md5('user' || u), 'tenant', 'l' || u, 1, NULL::BIGINT, 1 FROM generate_series(1, {u}) u
    UNION ALL
    SELECT md5('x' || n), 'tenant', 'x' || n, 1, NULL::BIGINT, 1 FROM generate_series(1, 1000) n
    """,
    "INSERT INTO checkpoint_namespaces SELECT part, 'n', 'k1', 9, 1, 1 FROM checkpoint_lineages",
    """
    INSERT INTO checkpoints
    SELECT part, 'n', 's' || s, s, NULL, 's0', 'd', 'r1', 1, s, 0, s
    FROM checkpoint_lineages, generate_series(1, {s}) s WHERE lineage LIKE 'l%'
    """,
    """
    INSERT INTO checkpoint_values
    SELECT part, 1, s, s, s, 0, 0, 0, 0, NULL, '\\x00'::BYTEA
    FROM checkpoint_lineages, generate_series(1, {s}) s WHERE lineage LIKE 'l%'
    """,
    """
    INSERT INTO checkpoint_writes
    SELECT part, 'n', 's1', 't' || s, 0, '', 'k1', '1', NULL, NULL::BYTEA
    FROM checkpoint_lineages, generate_series(1, {s}) s WHERE lineage LIKE 'l%'
    """,
    "INSERT INTO checkpoint_owners SELECT part, part, 'u1', 'app', 'me' FROM checkpoint_lineages",
    "INSERT INTO checkpoint_links SELECT part, 'u1', part, lineage, 1 FROM checkpoint_lineages",
    """
    INSERT INTO run_steps SELECT part, uid, 'r1', 'd' || d, 'run', 'k1', '1', NULL, NULL::BYTEA, d,
        CASE d % 10 WHEN 0 THEN 5 END
    FROM sessions, generate_series(1, 30) d WHERE uid <> 'u2'
    """,
    """
    INSERT INTO cron_tasks
    SELECT part, 's' || s, 'tenant', 'app', 'k' || s, '* * * * *', 'UTC', 'null', 1, '', 'tool',
        'once', 100, 'skip', NULL, NULL, CASE s WHEN 1 THEN 5 ELSE 2000000 + s END, 1, 1, 1
    FROM memory_owners, generate_series(1, 30) s
    """,
    """
    INSERT INTO cron_runs
    SELECT part, 's' || r, 'tenant', 'app', 's' || r % 3, 'k1', 'slot', 1, r,
        CASE r WHEN 1 THEN 'running' WHEN 2 THEN 'queued' ELSE 'success' END, 'me',
        CASE r WHEN 1 THEN 5 END, 1, CASE WHEN r > 2 THEN 1 END, '', '', '', '', 2000000
    FROM memory_owners, generate_series(1, 90) r
    """,
    "INSERT INTO erasures SELECT md5('user' || u), 1 FROM generate_series(1, {u}) u",
]


class Asked:
    """One connection to a schema of our tables; whatever is run on it is rolled back."""

    def __init__(self, url: str, schema: str) -> None:
        self._runner = asyncio.Runner()
        self._connection: Any = self._runner.run(
            asyncpg.connect(dsn_of(url), server_settings={"search_path": quoted(schema)})
        )

    def run(self, text: str) -> None:
        """Run statements without parameters, for good."""
        self._runner.run(self._connection.execute(text))

    def rows(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        return [tuple(row) for row in self._runner.run(self._connection.fetch(text, *values))]

    def fill(self, *, users: int, sessions: int, events: int) -> None:
        """That many users of one app, sessions a user, events a session."""
        for text in _FILL:
            self.run(text.format(u=users, s=sessions, e=events))
        self.run("ANALYZE")

    @contextmanager
    def prepared(self, text: str) -> Iterator[list[str]]:
        """The types of its parameters, while it is prepared by the name ``asked``."""
        self.run(f"PREPARE asked AS {text}")
        try:
            [(types,)] = self.rows(
                "SELECT parameter_types::TEXT[] FROM pg_prepared_statements WHERE name = 'asked'"
            )
            yield types
        finally:
            self.run("DEALLOCATE asked")

    def plan(self, arguments: list[str], mode: str) -> dict[str, Any]:
        """The plan of what is prepared, carried out with these literals and undone.

        ``mode`` is a `plan_cache_mode`.
        """
        given = f"({', '.join(arguments)})" if arguments else ""
        self.run(f"BEGIN; SET LOCAL plan_cache_mode = {mode}")
        try:
            [(found,)] = self.rows(
                f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE asked{given}"
            )
        finally:
            self.run("ROLLBACK")
        plan: dict[str, Any] = json.loads(found)[0]["Plan"]
        return plan

    def close(self) -> None:
        """Hang up."""
        self._runner.run(self._connection.close())
        self._runner.close()


@contextmanager
def asking(url: str) -> Iterator[Asked]:
    """A connection to the schema of a store's URL, whatever the form it is run in."""
    address, _, schema = url.rpartition("schema=")
    asked = Asked(f"postgresql:{address.rstrip('?&').partition(':')[2]}", schema)
    try:
        yield asked
    finally:
        asked.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plan and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


#: One session that `fill` has made, and what may be asked of it.
_VALUES: Mapping[str, object] = {
    "id": "s1", "uid": "u1", "new_uid": "u2", "event_id": "e5", "digest": "d5", "name": "k1",
    "seq": 5, "at": 6, "low": 1, "high": 6, "limit": 20, "added": 1, "now": 1_000_000,
    "deleted_before": 10, "created_at": 5, "after": 0, "after_id": "s0", "after_uid": "u0",
    "tenant": "tenant", "value": "2", "content": '"hello"', "text": None, "delta": "{}",
    "expected": None, "after_time": None, "branch": None, "run_id": None, "updated_after": None,
    "parent": None, "terms": 0, "digests": "", "deleted_at": None, "ttl": None, "data": None,
    "codec": None, "state_names": "k1", "state_owns": True, "state_data": None, "version": 0,
    "from_seq": 2, "base": 1000, "prev": 4, "step": 1, "idle_before": 10, "before": 10,
    "doomed": 1, "author": "me",
    "namespace": "n1!", "key": "k1", "first_namespace": "n1!", "first_key": "",
    "end_namespace": "n3!", "end_key": "", "key_from": "", "key_to": None, "since": 5,
    "after_namespace": "n1!", "after_key": "k1",
    "number": 0, "after_version": 0, "after_name": "k0",
    "filter_key": "f1",
    "kinds": " events ", "kind": "events", "block": "0-u1", "low_key": "1", "high_key": "9",
    "small": 128, "characters": 100, "uid_a": "u1", "key_a": "5", "model": "model",
    "hook": "h1", "thread_id": None, "closed_at": None, "ns": "n", "chain": 1, "chains": "1",
    "named": 1, "run": "r1", "below": 100,
    "below_id": "z", "after_lineage": "", "known": 0,
    "task_id": "s1", "after_part": "", "source": None, "enabled": None,
}  # fmt: skip
#: What a statement needs of its own, so that it finds or makes a row.
_OF_STATEMENT: Mapping[str, Mapping[str, object]] = {
    "approvals.add": {
        "id": "new", "call_key": "new", "payload": "null", "edited_digest": None,
        "thread_id": "t1", "run_id": "run", "app": "app",
    },
    "approvals.find": {"id": "a3"},
    "approvals.of_call": {"call_key": "u1-3"},
    "approvals.resolve": {"id": "a3", "edited_digest": None, "edited_args": None},
    "approvals.consume": {"id": "a1", "args_digest": "d1"},
    "approvals.give_up": {"id": "a3"},
    "approvals.hold": {"id": "a3"},
    "approvals.audit": {"id": "a3"},
    "approvals.note": {"id": "new", "number": 9},
    "approvals.list": {"status": "rejected", "uid": None, "run_id": None, "after_at": 9},
    "approvals.covering": {"exact": "d1", "any": "d2", "since": 0, "agent": ""},
    "approvals.remember": {"digest": "new", "thread_id": "t1", "app": "app"},
    "approvals.remembered": {"app": None, "after_part": "", "after_uid": "", "after_digest": ""},
    "approvals.forget": {"digest": "d1"},
    "approvals.unattended": {"app": None, "after_at": 0, "after_id": ""},
    "approvals.drop": {"id": "a5"},
    "approvals.drop_audit": {"id": "a5"},
    "checkpoints.add": {"id": "new"},
    "checkpoints.add_value": {"chain": 7, "data": "x"},
    "checkpoints.put_known": {
        "id": "new", "absent": None, "base_id": "s1", "base_chain": 1, "base_depth": 1,
        "base_checksum": 0, "epoch": 1, "owner": None, "v_chain": 9, "v_data": "x",
    },
    "checkpoints.put_new": {"id": "new", "absent": None, "v_chain": 9, "v_data": "x"},
    "checkpoints.put_writes": {"owner": None},
    "artifacts.add": {"version": 99, "data": "x"},
    "artifacts.put_blob": {"size": 5},
    "artifacts.pieces_after": {"digest": "d4", "number": -1},
    "artifacts.piece": {"digest": "d4"},
    "artifacts.has_pieces": {"digest": "d4"},
    "artifacts.add_piece": {"number": 7, "data": "x"},
    "fulltext.add": {"block": "new"},
    "fulltext.newest": {"uid": None},
    "search.documents_of": {"uid": None},
    "search.vectors": {"uid": None},
    "search.lacking": {"limit": 50},
    "search.lacking_since": {"limit": 50, "since": 0},
    "search.put_vector": {"digest": "new"},
    "cron.insert_task": {"id": "new", "name": "new", "source": "tool", "enabled": 1},
    "cron.insert_run": {"id": "new", "run_id": "", "status": "queued"},
    "cron.claim": {"version": 1, "expected": 5},
    "cron.put_task": {"source": "tool", "enabled": 1},
    "cron.renew": {"owner": "me"},
    "cron.finish": {"owner": "me", "status": "success"},
    "cron.begin": {"id": "s2"},
    "cron.skip": {"id": "s2"},
    "cron.due": {"after_id": ""}, "cron.waiting": {"after_at": 0, "after_id": ""},
    "cron.tasks": {"after": "", "after_app": ""},
    "cron.runs": {"status": None, "before": 1000, "before_id": "z"},
    "events.insert": {
        "seq": 1000, "id": "new", "text": "", "author": "", "branch": "", "run_id": "",
    },
    "events.append_one": {"event_id": "new", "text": "", "branch": "", "run_id": ""},
    "events.append_many": {"event_id": "new", "text": "", "branch": "", "run_id": ""},
    "events.annotate": {"id": "new"},
    "events.redact": {"text": ""},
    "events.drop_ref": {"name": "left"},
    "sessions.insert": {"id": "new", "uid": "new"},
    "sessions.children": {"parent": "none"},
    "sessions.find_deleted": {"id": "s4"},
    "sessions.mark_restored": {"uid": "u4", "deleted_at": 1},
    "sessions.hold_purgeable": {"uid": "u4"},
    "outbox.add": {"id": "new"},
    "steps.put": {"run": "r1", "digest": "new", "run_id": "run"},
    "steps.find": {"run": "r1"},
    "steps.list": {"run": "r1", "after_at": 0, "after": ""},
    "steps.delete": {"run": "r1"},
    "sweeping.doomed": {"after": "", "after_uid": "", "after_at": 0},
    "sweeping.with_old_events": {"after": "", "after_uid": ""},
    "sessions.retire_expired": {"id": "s3"},
    "keyvalues.add": {"key": "new", "text": ""},
    "keyvalues.put": {"key": "new", "text": ""},
    "keyvalues.put_many": {"key": "new", "text": ""},
    "keyvalues.put_beside": {"key": "new", "text": ""},
    "keyvalues.put_expected": {"expected": 1},
    "keyvalues.drop_expired": {"key": "k10", "namespace": "n0!"},
    "keyvalues.sweep": {"until": 100},
    "keyvalues.expire": {"key": "k10", "namespace": "n0!"},
    "keyvalues.set_text": {"text": "x"},
    "memory.find": {"id": "m1"},
    "memory.some": {"id_a": "m1", "id_b": "m2"},
    "memory.page": {"after": 9, "after_id": "m9"},
    "memory.of_session": {"session_id": "s1"},
    "memory.of_event": {"session_id": "s1", "event_id": ""},
    "memory.insert": {"id": "new", "digest": "new", "text": "x"},
    "memory.change": {"id": "m5", "text": "x"},
    "memory.remove": {"id": "m5"},
    "memory.remove_if_expired": {"id": "m3"},
    "memory.log": {"id": "m5"},
    "memory.logged": {"id": "m5"},
    "memory.buried": {"digest": "gone1"},
    "memory.revive": {"digest": "gone1"},
    "memory.ingest_first": {"uid": "u2"},
    "memory.ingest_more": {"version": 1},
    "clarifications.insert": {"id": "new", "digest": "new", "question": "x", "context": ""},
    "clarifications.waiters": {"from_name": "k0", "to_name": "k9"},
    "sizes.grown": {"since": 0}, "sizes.held": {"after_part": "", "upto_part": "g"},
    "sizes.owners": {"after_part": ""},
    "usage.spent": {"since": 0, "until": 1000, "after_seq": 0},
    "usage.sessions": {"after_part": "", "after_uid": ""},
    "state.put_absent": {"name": "new"},
    "summaries.put": {"anchor": None},
    "state.put_expected": {"expected": 1},
}  # fmt: skip


_PARTS = {"app": APP_PART, "tenant": "'tenant'", "user": USER_PART, "task": USER_PART}
_STATE_ARRAYS = {"state_owns", "state_names", "state_values", "state_codecs", "state_data"}


def literals(name: str, params: tuple[str, ...], types: list[str]) -> list[str]:
    """Values for the parameters of a statement, as SQL."""
    base, *choices = name.split(" ")
    given = {**_VALUES, **_OF_STATEMENT.get(base, {})}
    if choices[-1:] == ["first"]:
        given |= {"after": None, "after_id": None, "after_uid": None}
    texts = {"part": USER_PART, "app_part": APP_PART, "owner": _PARTS.get("".join(choices[:1]), "")}
    texts["state_parts"] = f"ARRAY[{USER_PART}, {APP_PART}]"
    return [
        texts.get(param) or _literal(param, kind, given)
        for param, kind in zip(params, types, strict=True)
    ]


def _literal(param: str, kind: str, given: Mapping[str, object]) -> str:
    found = given.get(param, "x" if kind.startswith("text") else 1)
    if param[:4] in {"uid_", "key_"} and param not in given:
        found = None
    value = "NULL" if found is None else f"'{found}'"
    if not kind.endswith("[]"):
        return f"{value}::{kind}"
    # The state of an append is of the user and of the app; its events are one.
    return f"ARRAY[{', '.join([value] * (2 if param in _STATE_ARRAYS else 1))}]::{kind}"
