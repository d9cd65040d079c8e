-- Sessions, their events and state. Times are microseconds since 1970 (UTC); JSON is text.
-- `part` is the digest of (kind, tenant, app, user) and leads every key: see docs/architecture.md.

CREATE TABLE sessions (
    part          {text}   NOT NULL,
    uid           {text}   NOT NULL,
    id            {text}   NOT NULL,
    tenant        {text}   NOT NULL,
    app           {text}   NOT NULL,
    user_id       {text}   NOT NULL,
    app_part      {text}   NOT NULL,
    version       BIGINT   NOT NULL,
    head          BIGINT   NOT NULL,
    left_head     BIGINT   NOT NULL,
    last_seq      BIGINT   NOT NULL,
    event_count   BIGINT   NOT NULL,
    created_at    BIGINT   NOT NULL,
    updated_at    BIGINT   NOT NULL,
    last_event_at BIGINT,
    ttl           BIGINT,
    expires_at    BIGINT,
    deleted_at    BIGINT,
    title         {text}   NOT NULL,
    author        {text}   NOT NULL,
    agent_type    {text}   NOT NULL,
    tags          {text}   NOT NULL,
    metadata      {text}   NOT NULL,
    parent        {text},
    origin        {text},
    preview       {text}   NOT NULL,
    PRIMARY KEY (part, uid)
) {clustered};

CREATE UNIQUE INDEX sessions_live ON sessions (part, id) WHERE deleted_at IS NULL;
CREATE INDEX sessions_by_user ON sessions (part, updated_at, id, uid) WHERE deleted_at IS NULL;
CREATE INDEX sessions_by_app ON sessions (app_part, updated_at, id, uid) WHERE deleted_at IS NULL;
CREATE INDEX sessions_created ON sessions (part, created_at, id, uid) WHERE deleted_at IS NULL;
CREATE INDEX sessions_expiring ON sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX sessions_deleted ON sessions (deleted_at) WHERE deleted_at IS NOT NULL;

-- What list filters by: digests of tags and of metadata pairs.
CREATE TABLE session_terms (
    part   {text} NOT NULL,
    uid    {text} NOT NULL,
    digest {text} NOT NULL,
    PRIMARY KEY (part, uid, digest),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

-- Not clustered: SQLite keeps at most a quarter of a page of a clustered row in place, and every
-- event would spill into a page of its own.
CREATE TABLE events (
    part        {text}   NOT NULL,
    uid         {text}   NOT NULL,
    seq         BIGINT   NOT NULL,
    prev        BIGINT   NOT NULL,
    version     BIGINT   NOT NULL,
    id          {text}   NOT NULL,
    digest      {text}   NOT NULL,
    timestamp   BIGINT   NOT NULL,
    created_at  BIGINT   NOT NULL,
    author      {text}   NOT NULL,
    run_id      {text}   NOT NULL,
    branch      {text}   NOT NULL,
    filter_key  {text}   NOT NULL,
    kind        {text}   NOT NULL,
    role        {text}   NOT NULL,
    calls       {text},
    results     {text},
    format      {text}   NOT NULL,
    state_delta {text},
    error       {text},
    usage       {text},
    metadata    {text},
    extra       {text},
    content     {text},
    codec       {text},
    data        {bytes},
    text        {text}   NOT NULL,
    PRIMARY KEY (part, uid, seq),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
);

CREATE UNIQUE INDEX events_id ON events (part, uid, id);
-- Only where a line leaves the row before it: empty for a session that never branched.
CREATE INDEX events_jumps ON events (part, uid, seq) WHERE prev <> seq - 1;

-- Lines that were left and are kept.
CREATE TABLE refs (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    name       {text} NOT NULL,
    head       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid, name),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

-- One row for each change of history, for those who follow a session.
CREATE TABLE rewrites (
    part     {text} NOT NULL,
    uid      {text} NOT NULL,
    version  BIGINT NOT NULL,
    from_seq BIGINT NOT NULL,
    PRIMARY KEY (part, uid, version),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

-- uid is '' for the app and the user scope; value, codec and data all NULL: removed.
CREATE TABLE state (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    name       {text} NOT NULL,
    value      {text},
    codec      {text},
    data       {bytes},
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid, name)
) {clustered};

-- Session state that no event brought: set by hand, at creation (seq 0), or folded by a prune
-- (version 0: what stood before the event seq).
CREATE TABLE state_log (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    seq        BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    delta      {text} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid, seq, version),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

CREATE TABLE annotations (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    id         {text} NOT NULL,
    event_id   {text},
    name       {text} NOT NULL,
    value      {text} NOT NULL,
    author     {text} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid, id),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

-- Who was erased: keeps an importer from bringing them back.
CREATE TABLE erasures (
    part      {text} NOT NULL,
    erased_at BIGINT NOT NULL,
    PRIMARY KEY (part)
) {clustered};
