-- The full-text index: blocks of documents with their words, as features/postings.py packs them.
-- `uid` is '' for what hangs on no session. Not clustered, as the events are not: rows are long.
CREATE TABLE search_blocks (
    part      {text} NOT NULL,
    uid       {text} NOT NULL,
    block     {text} NOT NULL,
    kind      {text} NOT NULL,
    app_part  {text} NOT NULL,
    low_key   {text} NOT NULL,
    high_key  {text} NOT NULL,
    documents BIGINT NOT NULL,
    length    BIGINT NOT NULL,
    docs      {text} NOT NULL,
    words     {text} NOT NULL,
    PRIMARY KEY (part, uid, block)
);

CREATE INDEX search_blocks_newest ON search_blocks (part, block);
CREATE INDEX search_blocks_app ON search_blocks (app_part, block);

-- How far each session is indexed: the last seq, and the title.
CREATE TABLE search_marks (
    part  {text} NOT NULL,
    uid   {text} NOT NULL,
    seq   BIGINT NOT NULL,
    title {text} NOT NULL,
    PRIMARY KEY (part, uid),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

-- Vectors of documents for hybrid search: 32-bit floats, little-endian, of one model each.
CREATE TABLE search_vectors (
    part      {text}  NOT NULL,
    uid       {text}  NOT NULL,
    kind      {text}  NOT NULL,
    digest    {text}  NOT NULL,
    doc       {text}  NOT NULL,
    model     {text}  NOT NULL,
    dimension BIGINT  NOT NULL,
    vector    {bytes} NOT NULL,
    PRIMARY KEY (part, uid, kind, digest)
) {clustered};
