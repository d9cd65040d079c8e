-- Events by (part, uid, seq). A line is followed from its head by prev.

-- define: columns
e.seq, e.prev, e.version, e.id, e.timestamp, e.created_at, e.author, e.run_id, e.branch,
e.filter_key, e.kind, e.role, e.calls, e.results, e.format, e.state_delta, e.error, e.usage,
e.metadata, e.extra, e.content, e.codec, e.data, e.text

-- define: said
e.seq, e.id, e.author, e.format, e.content, e.codec, e.data

-- define: in_content
-- Where an event has no text of its own, it may be that of its content: see drafts.py.
CASE WHEN e.text = '' AND e.format IN ('openai.chat', 'openai.responses')
    AND LENGTH(e.content) <= 16384 THEN e.content END

-- name: insert
INSERT INTO events (part, uid, seq, prev, version, id, digest, timestamp, created_at, author,
    run_id, branch, filter_key, kind, role, calls, results, format, state_delta, error, usage,
    metadata, extra, content, codec, data, text)
VALUES (:part, :uid, :seq, :prev, :version, :id, :digest, :timestamp, :created_at, :author,
    :run_id, :branch, :filter_key, :kind, :role, :calls, :results, :format, :state_delta, :error,
    :usage, :metadata, :extra, :content, :codec, :data, :text)

-- define: place_of_append
    UPDATE sessions
    SET version = version + 1, updated_at = :now, expires_at = :now + ttl,
        left_head = head, head = last_seq + :added, last_seq = last_seq + :added,
        event_count = event_count + :added, last_event_at = :last_event_at,
        preview = COALESCE(:preview, preview)
    WHERE part = :part AND id = :id AND deleted_at IS NULL
      AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
      AND (CAST(:fence AS BIGINT) IS NULL OR fence = :fence)
      {unless_known}
    RETURNING uid, version, last_seq, left_head

-- define: or_else
    ON CONFLICT (part, uid, name) DO UPDATE
    SET value = excluded.value, codec = excluded.codec, data = excluded.data,
        version = state.version + 1, updated_at = excluded.updated_at

-- define: key_of_append
    INSERT INTO state (part, uid, name, value, codec, data, version, updated_at)
    SELECT CAST(:part AS TEXT), place.uid, CAST(:state_name AS TEXT), CAST(:state_value AS TEXT),
        CAST(:state_codec AS TEXT), CAST(:state_data AS BYTEA), 1, :now
    FROM place
    {or_else}

-- define: state_of_append
    INSERT INTO state (part, uid, name, value, codec, data, version, updated_at)
    SELECT s.part, CASE WHEN s.own THEN place.uid ELSE '' END, s.name, s.value, s.codec, s.data,
        1, :now
    FROM place, unnest(CAST(:state_parts AS TEXT[]), CAST(:state_owns AS BOOLEAN[]),
        CAST(:state_names AS TEXT[]), CAST(:state_values AS TEXT[]),
        CAST(:state_codecs AS TEXT[]), CAST(:state_data AS BYTEA[])
    ) AS s (part, own, name, value, codec, data)
    {or_else}

-- name: append_one[postgres]
-- for: unless_known = new: | named: AND NOT EXISTS (SELECT FROM events e WHERE e.part = :part AND e.uid = sessions.uid AND e.id = :event_id)
-- for: with_state = plain: | key: , stated AS ({key_of_append}) | keys: , stated AS ({state_of_append})
-- The whole append of one event: a row of NULLs, and no change, where it does not apply.
WITH place AS (
{place_of_append}
), added AS (
    INSERT INTO events (
        part, uid, seq, prev, version, id, digest, timestamp, created_at, author, run_id,
        branch, filter_key, kind, role, calls, results, format, state_delta, error, usage,
        metadata, extra, content, codec, data, text)
    SELECT CAST(:part AS TEXT), place.uid, place.last_seq, place.left_head, place.version,
        CAST(:event_id AS TEXT), CAST(:digest AS TEXT), CAST(:timestamp AS BIGINT),
        CAST(:created_at AS BIGINT), CAST(:author AS TEXT), CAST(:run_id AS TEXT),
        CAST(:branch AS TEXT), CAST(:filter_key AS TEXT), CAST(:kind AS TEXT),
        CAST(:role AS TEXT), CAST(:calls AS TEXT), CAST(:results AS TEXT),
        CAST(:format AS TEXT), CAST(:state_delta AS TEXT), CAST(:error AS TEXT),
        CAST(:usage AS TEXT), CAST(:metadata AS TEXT), CAST(:extra AS TEXT),
        CAST(:content AS TEXT), CAST(:codec AS TEXT), CAST(:data AS BYTEA), CAST(:text AS TEXT)
    FROM place
){with_state}
SELECT place.uid, place.version, place.last_seq, place.left_head
FROM (VALUES (1)) AS always (one) LEFT JOIN place ON TRUE

-- name: append_many[postgres]
-- for: unless_known = new: | named: AND NOT EXISTS (SELECT FROM events e WHERE e.part = :part AND e.uid = sessions.uid AND e.id = ANY(:event_id))
-- for: with_state = plain: | keys: , stated AS ({state_of_append})
-- The same for several events, each column of them an array.
WITH place AS (
{place_of_append}
), added AS (
    INSERT INTO events (
        part, uid, seq, prev, version, id, digest, timestamp, created_at, author, run_id,
        branch, filter_key, kind, role, calls, results, format, state_delta, error, usage,
        metadata, extra, content, codec, data, text)
    SELECT CAST(:part AS TEXT), place.uid, place.last_seq - :added + e.place,
        CASE e.place WHEN 1 THEN place.left_head ELSE place.last_seq - :added + e.place - 1 END,
        place.version,
        e.event_id, e.digest, e.timestamp, e.created_at, e.author, e.run_id, e.branch,
        e.filter_key, e.kind, e.role, e.calls, e.results, e.format, e.state_delta, e.error,
        e.usage, e.metadata, e.extra, e.content, e.codec, e.data, e.text
    FROM place, unnest(
        CAST(:event_id AS TEXT[]), CAST(:digest AS TEXT[]), CAST(:timestamp AS BIGINT[]),
        CAST(:created_at AS BIGINT[]), CAST(:author AS TEXT[]), CAST(:run_id AS TEXT[]),
        CAST(:branch AS TEXT[]), CAST(:filter_key AS TEXT[]), CAST(:kind AS TEXT[]),
        CAST(:role AS TEXT[]), CAST(:calls AS TEXT[]), CAST(:results AS TEXT[]),
        CAST(:format AS TEXT[]), CAST(:state_delta AS TEXT[]), CAST(:error AS TEXT[]),
        CAST(:usage AS TEXT[]), CAST(:metadata AS TEXT[]), CAST(:extra AS TEXT[]),
        CAST(:content AS TEXT[]), CAST(:codec AS TEXT[]), CAST(:data AS BYTEA[]),
        CAST(:text AS TEXT[])
    ) WITH ORDINALITY AS e (
        event_id, digest, timestamp, created_at, author, run_id, branch, filter_key, kind, role,
        calls, results, format, state_delta, error, usage, metadata, extra, content, codec,
        data, text, place)
){with_state}
SELECT place.uid, place.version, place.last_seq, place.left_head
FROM (VALUES (1)) AS always (one) LEFT JOIN place ON TRUE

-- name: stored
-- The event of an id with its digest, for an append that may be a retry.
SELECT e.digest, {columns} FROM sessions s
JOIN events e ON e.part = s.part AND e.uid = s.uid AND e.id = :event_id
WHERE s.part = :part AND s.id = :id AND s.deleted_at IS NULL
  AND (s.expires_at IS NULL OR s.expires_at > :now)

-- name: by_id
SELECT {columns} FROM events e WHERE e.part = :part AND e.uid = :uid AND e.id = :event_id

-- name: locate
-- By the id alone, in every session of the app: not by part, so a sharded database asks all.
SELECT s.app, s.user_id, s.id, {columns} FROM sessions s
JOIN events e ON e.part = s.part AND e.uid = s.uid AND e.id = :event_id
WHERE s.app_part = :app_part AND s.deleted_at IS NULL
  AND (s.expires_at IS NULL OR s.expires_at > :now)
ORDER BY s.part, s.uid LIMIT 1

-- name: jumps[sqlite]
-- Where the line that comes down from :at leaves the row before it: the first such place.
-- SQLite would walk down the primary key instead of the index, past every row of the line.
SELECT e.seq, e.prev FROM events e INDEXED BY events_jumps
WHERE e.part = :part AND e.uid = :uid AND e.seq <= :at AND e.prev <> e.seq - 1
  AND :low = :low
ORDER BY e.seq DESC LIMIT 1

-- name: jumps[postgres]
-- All such places down to :low, in one trip; (1, 0) where the line goes on to its beginning.
WITH RECURSIVE walk (seq, prev) AS (
    SELECT COALESCE(jump.seq, 1), COALESCE(jump.prev, 0)
    FROM (VALUES (1)) AS always (one) LEFT JOIN LATERAL (
        SELECT e.seq, e.prev FROM events e
        WHERE e.part = :part AND e.uid = :uid AND e.seq <= :at AND e.prev <> e.seq - 1
        ORDER BY e.seq DESC LIMIT 1
    ) jump ON TRUE
    UNION ALL
    SELECT COALESCE(jump.seq, 1), COALESCE(jump.prev, 0)
    FROM walk LEFT JOIN LATERAL (
        SELECT e.seq, e.prev FROM events e
        WHERE e.part = :part AND e.uid = :uid AND e.seq <= walk.prev AND e.prev <> e.seq - 1
        ORDER BY e.seq DESC LIMIT 1
    ) jump ON TRUE
    WHERE walk.prev > 0 AND walk.prev >= :low
)
SELECT seq, prev FROM walk ORDER BY seq DESC

-- name: timestamp_at
SELECT e.timestamp FROM events e WHERE e.part = :part AND e.uid = :uid AND e.seq = :seq

-- name: first_from
SELECT e.seq, e.prev FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq >= :low ORDER BY e.seq LIMIT 1

-- define: within
e.part = :part AND e.uid = :uid AND e.seq BETWEEN :low AND :high
  AND (CAST(:after_time AS BIGINT) IS NULL OR e.timestamp >= :after_time)
  AND (CAST(:branch AS TEXT) IS NULL OR e.branch = :branch)
  AND (CAST(:run_id AS TEXT) IS NULL OR e.run_id = :run_id)

-- name: read
-- for: way = up: ASC | down: DESC
-- for: shape = events: {columns} | contents: {said}
SELECT {shape} FROM events e WHERE {within} ORDER BY e.seq {way} LIMIT :limit

-- name: last
-- for: shape = events: {columns} | contents: {said}
SELECT {shape}, COALESCE({below}, 0)
FROM sessions s CROSS JOIN events e ON e.part = s.part AND e.uid = s.uid
WHERE s.part = :part AND s.id = :id AND s.deleted_at IS NULL
  AND (s.expires_at IS NULL OR s.expires_at > :now)
  AND e.seq BETWEEN MAX(:low, COALESCE({jump}, 0)) AND MIN(s.head, :high)
ORDER BY e.seq DESC LIMIT :limit

-- define: jump
(SELECT j.seq FROM events j WHERE j.part = s.part AND j.uid = s.uid AND j.seq <= s.head
   AND j.prev <> j.seq - 1 ORDER BY j.seq DESC LIMIT 1)

-- define: below
(SELECT j.prev FROM events j WHERE j.part = s.part AND j.uid = s.uid AND j.seq <= s.head
   AND j.prev <> j.seq - 1 ORDER BY j.seq DESC LIMIT 1)

-- name: last[postgres]
-- for: shape = events: {columns} | contents: {said}
-- The session, the last jump of its line, and the newest events above it: NULLs for no event.
WITH session AS MATERIALIZED (
    SELECT s.uid, s.head FROM sessions s
    WHERE s.part = :part AND s.id = :id AND s.deleted_at IS NULL
      AND (s.expires_at IS NULL OR s.expires_at > :now)
), jump AS MATERIALIZED (
    SELECT e.seq, e.prev FROM session s JOIN events e ON e.part = :part AND e.uid = s.uid
    WHERE e.seq <= s.head AND e.prev <> e.seq - 1
    ORDER BY e.seq DESC LIMIT 1
)
SELECT {shape}, COALESCE((SELECT prev FROM jump), 0)
FROM session s LEFT JOIN LATERAL (
    SELECT * FROM events e
    WHERE e.part = :part AND e.uid = s.uid
      AND e.seq BETWEEN GREATEST((SELECT seq FROM jump), :low) AND LEAST(s.head, :high)
    ORDER BY e.seq DESC LIMIT :limit
) e ON TRUE
ORDER BY e.seq DESC

-- name: count
SELECT COUNT(*) FROM events e WHERE {within}

-- name: outline
-- What windows and prunes decide by.
SELECT e.seq, e.kind, e.role, e.calls, e.results, e.timestamp FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq BETWEEN :low AND :high
ORDER BY e.seq DESC LIMIT :limit

-- name: last_message
SELECT e.seq, e.text, {in_content} FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq BETWEEN :low AND :high
  AND e.kind = 'message' AND (e.text <> '' OR e.format IN ('openai.chat', 'openai.responses'))
ORDER BY e.seq DESC LIMIT 1

-- name: first_since
SELECT MIN(e.seq) FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq BETWEEN :low AND :high
  AND e.timestamp >= :since

-- name: tail
SELECT {columns} FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq > :after ORDER BY e.seq LIMIT :limit

-- name: rewrites_after
SELECT r.version, r.from_seq FROM rewrites r
WHERE r.part = :part AND r.uid = :uid AND r.version > :version ORDER BY r.version

-- name: add_rewrite
INSERT INTO rewrites (part, uid, version, from_seq) VALUES (:part, :uid, :version, :from_seq)
ON CONFLICT (part, uid, version) DO NOTHING

-- name: copy_run
INSERT INTO events (part, uid, seq, prev, version, id, digest, timestamp, created_at, author,
    run_id, branch, filter_key, kind, role, calls, results, format, state_delta, error, usage,
    metadata, extra, content, codec, data, text)
SELECT part, :new_uid, :base + ROW_NUMBER() OVER (ORDER BY seq),
    :base + ROW_NUMBER() OVER (ORDER BY seq) - 1, 1, id, digest, timestamp, created_at, author,
    run_id, branch, filter_key, kind, role, calls, results, format, state_delta, error, usage,
    metadata, extra, content, codec, data, text
FROM events WHERE part = :part AND uid = :uid AND seq BETWEEN :low AND :high

-- name: remove
DELETE FROM events WHERE part = :part AND uid = :uid AND seq = :seq

-- name: remove_run
DELETE FROM events WHERE part = :part AND uid = :uid AND seq BETWEEN :low AND :high

-- name: cut_off
-- A jump to nowhere: what the line had below is pruned, and other lines' rows there are not its.
UPDATE events SET prev = -1 WHERE part = :part AND uid = :uid AND seq = :seq

-- name: relink
UPDATE events SET prev = :prev WHERE part = :part AND uid = :uid AND seq = :seq

-- name: followers[sqlite]
SELECT e.seq, e.version FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq = :seq + 1 AND e.prev = :seq
UNION ALL
SELECT e.seq, e.version FROM events e INDEXED BY events_jumps
WHERE e.part = :part AND e.uid = :uid AND e.prev <> e.seq - 1 AND e.prev = :seq

-- name: followers[postgres]
SELECT e.seq, e.version FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.prev = :seq

-- name: matching
SELECT e.seq, e.id FROM events e
WHERE e.part = :part AND e.uid = :uid
  AND (CAST(:event_id AS TEXT) IS NULL OR e.id = :event_id)
  AND (CAST(:run_id AS TEXT) IS NULL OR e.run_id = :run_id)
  AND (CAST(:branch AS TEXT) IS NULL OR e.branch = :branch)
  AND e.seq BETWEEN :low AND :high
ORDER BY e.seq DESC

-- name: redact
UPDATE events
SET content = :content, codec = :codec, data = :data, text = :text, kind = :kind, role = :role,
    calls = :calls, results = :results, format = :format
WHERE part = :part AND uid = :uid AND id = :event_id

-- name: same_event
-- The copies of an event in forks of its session, made before or after: a copy keeps the time of
-- storing, an equal event of another session has its own.
SELECT e.uid, e.seq FROM sessions s CROSS JOIN events e
WHERE s.part = :part AND s.uid <> :uid
  AND e.part = s.part AND e.uid = s.uid AND e.id = :event_id AND e.digest = :digest
  AND e.created_at = :created_at

-- name: digest_of
SELECT e.digest FROM events e WHERE e.part = :part AND e.uid = :uid AND e.seq = :seq

-- name: refs
SELECT r.name, r.head, r.created_at FROM refs r WHERE r.part = :part AND r.uid = :uid
ORDER BY r.created_at, r.name

-- name: add_ref
INSERT INTO refs (part, uid, name, head, created_at) VALUES (:part, :uid, :name, :head, :now)
ON CONFLICT (part, uid, name) DO UPDATE
SET head = excluded.head, created_at = excluded.created_at

-- name: drop_ref
DELETE FROM refs WHERE part = :part AND uid = :uid AND name = :name

-- name: drop_refs
DELETE FROM refs WHERE part = :part AND uid = :uid

-- name: annotate
INSERT INTO annotations (part, uid, id, event_id, name, value, author, created_at)
VALUES (:part, :uid, :id, :event_id, :name, :value, :author, :now)

-- name: drop_notes
DELETE FROM annotations WHERE part = :part AND uid = :uid AND event_id = :event_id

-- name: drop_event_notes
DELETE FROM annotations WHERE part = :part AND uid = :uid AND event_id IS NOT NULL

-- name: annotations
SELECT a.name, a.value, a.author, a.event_id, a.created_at FROM annotations a
WHERE a.part = :part AND a.uid = :uid
  AND (CAST(:event_id AS TEXT) IS NULL OR a.event_id = :event_id)
ORDER BY a.id

-- name: drop_notes_in
DELETE FROM annotations WHERE part = :part AND uid = :uid AND event_id IN (
    SELECT e.id FROM events e
    WHERE e.part = :part AND e.uid = :uid AND e.seq BETWEEN :low AND :high)

-- name: prev_of
SELECT e.prev FROM events e WHERE e.part = :part AND e.uid = :uid AND e.seq = :seq
