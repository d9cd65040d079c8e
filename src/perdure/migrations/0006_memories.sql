-- What is remembered of a person beyond one conversation, or of an app by all its users: those
-- have the part of the user of no name.

-- One row an owner: whoever changes its memories holds it.
CREATE TABLE memory_owners (
    part    {text} NOT NULL,
    tenant  {text} NOT NULL,
    app     {text} NOT NULL,
    user_id {text} NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (part)
) {clustered};

-- `digest` says which of two are the same: of the content, of the source, or (a memory that was
-- superseded) of the id alone, as `same_by` tells. `pinned` is 0 or 1.
CREATE TABLE memories (
    part          {text} NOT NULL,
    id            {text} NOT NULL,
    digest        {text} NOT NULL,
    same_by       {text} NOT NULL,
    version       BIGINT NOT NULL,
    text          {text} NOT NULL,
    topics        {text} NOT NULL,
    metadata      {text} NOT NULL,
    agent         {text} NOT NULL,
    author        {text} NOT NULL,
    session_id    {text} NOT NULL,
    event_id      {text} NOT NULL,
    timestamp     BIGINT NOT NULL,
    valid_from    BIGINT,
    valid_until   BIGINT,
    superseded_by {text},
    pinned        BIGINT NOT NULL,
    expires_at    BIGINT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (part, id)
);

CREATE UNIQUE INDEX memories_same ON memories (part, digest);
CREATE INDEX memories_newest ON memories (part, updated_at, id);
CREATE INDEX memories_of_session ON memories (part, session_id);
CREATE INDEX memories_expiring ON memories (expires_at) WHERE expires_at IS NOT NULL;

-- What a memory was before each change: the columns from `text` on, as a list.
CREATE TABLE memory_log (
    part    {text} NOT NULL,
    id      {text} NOT NULL,
    version BIGINT NOT NULL,
    was     {text} NOT NULL,
    PRIMARY KEY (part, id, version),
    FOREIGN KEY (part, id) REFERENCES memories (part, id) ON DELETE CASCADE
) {clustered};

-- What was deleted, corrected or superseded, by its digest: no ingestion brings it back. `heir`
-- is the memory that it lives on in, '' for none.
CREATE TABLE memory_tombstones (
    part       {text} NOT NULL,
    digest     {text} NOT NULL,
    heir       {text} NOT NULL,
    deleted_at BIGINT NOT NULL,
    PRIMARY KEY (part, digest)
) {clustered};

-- Which events of a session memories were made of: spans of seqs, each a pair.
CREATE TABLE memory_ingests (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    spans      {text} NOT NULL,
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};
