-- Checkpoints of graphs. Here `part` is the digest of (tenant, lineage), but in checkpoint_links,
-- which stand in the part of a person. `ns` is '' for the namespace '' and its digest for others,
-- so that a key has one free text, and writes have two short ones.

-- A lineage that is deleted keeps its row, without a name, so that what comes late is known.
CREATE TABLE checkpoint_lineages (
    part       {text} NOT NULL,
    tenant     {text} NOT NULL,
    lineage    {text} NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (part)
) {clustered};

CREATE INDEX checkpoint_lineages_named ON checkpoint_lineages (tenant, lineage, part)
WHERE deleted_at IS NULL;

-- last: the number of the last put. epoch: another one whenever something was removed, so that
-- what a process remembers of the namespace counts no more.
CREATE TABLE checkpoint_namespaces (
    part       {text} NOT NULL,
    ns         {text} NOT NULL,
    namespace  {text} NOT NULL,
    last       BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (part, ns)
) {clustered};

-- chain, depth and checksum say where the body is: metadata, versions of channels, payload.
-- parent_ns is NULL where the parent is in the same namespace. run is the digest of the run's id.
CREATE TABLE checkpoints (
    part       {text} NOT NULL,
    ns         {text} NOT NULL,
    id         {text} NOT NULL,
    number     BIGINT NOT NULL,
    parent_ns  {text},
    parent_id  {text},
    digest     {text} NOT NULL,
    run        {text},
    chain      BIGINT NOT NULL,
    depth      BIGINT NOT NULL,
    checksum   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (part, ns, id)
) {clustered};

CREATE INDEX checkpoints_put ON checkpoints (part, ns, number);
CREATE INDEX checkpoints_run ON checkpoints (run, part) WHERE run IS NOT NULL;

-- Bodies and values of channels. Depth 0 is whole; each next one of a chain is the one before
-- with what stands between its first `head` and its last `tail` bytes replaced. form: 0 as it is,
-- 1 zlib, 2 zlib with a dictionary out of the one before. codec is NULL for JSON. named: digest of
-- namespace, channel and version; number: the put that brought it.
-- Not clustered, as events are not.
CREATE TABLE checkpoint_values (
    part   {text}  NOT NULL,
    chain  BIGINT  NOT NULL,
    depth  BIGINT  NOT NULL,
    named  BIGINT,
    number BIGINT  NOT NULL,
    head   BIGINT  NOT NULL,
    tail   BIGINT  NOT NULL,
    form   BIGINT  NOT NULL,
    checksum BIGINT NOT NULL,
    codec  {text},
    data   {bytes} NOT NULL,
    PRIMARY KEY (part, chain, depth)
);

CREATE INDEX checkpoint_values_named ON checkpoint_values (part, named) WHERE named IS NOT NULL;

-- What tasks have written, before or after their checkpoint. Both free texts of the key have at
-- most 512 bytes.
CREATE TABLE checkpoint_writes (
    part    {text} NOT NULL,
    ns      {text} NOT NULL,
    id      {text} NOT NULL,
    task    {text} NOT NULL,
    idx     BIGINT NOT NULL,
    path    {text} NOT NULL,
    channel {text} NOT NULL,
    value   {text},
    codec   {text},
    data    {bytes},
    PRIMARY KEY (part, ns, id, task, idx)
);

-- Whose a lineage is; and, in the part of that person, which lineages they have. uid is that of a
-- session, '' for the person as a whole.
CREATE TABLE checkpoint_owners (
    part       {text} NOT NULL,
    owner_part {text} NOT NULL,
    uid        {text} NOT NULL,
    app        {text} NOT NULL,
    user_id    {text} NOT NULL,
    PRIMARY KEY (part, owner_part, uid)
) {clustered};

CREATE TABLE checkpoint_links (
    part         {text} NOT NULL,
    uid          {text} NOT NULL,
    lineage_part {text} NOT NULL,
    lineage      {text} NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (part, uid, lineage_part)
) {clustered};
