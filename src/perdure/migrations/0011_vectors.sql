-- Vectors are arrays of numbers on PostgreSQL, so that pgvector can compare them where it is
-- there. What was there is made anew by the next search that needs it.
DROP TABLE search_vectors;

CREATE TABLE search_vectors (
    part      {text}   NOT NULL,
    uid       {text}   NOT NULL,
    kind      {text}   NOT NULL,
    digest    {text}   NOT NULL,
    doc       {text}   NOT NULL,
    model     {text}   NOT NULL,
    dimension BIGINT   NOT NULL,
    vector    {floats} NOT NULL,
    PRIMARY KEY (part, uid, kind, digest)
) {clustered};
