-- Values by namespace and key. `namespace` is a text that sorts as the namespaces do, see
-- features/namespaces.py; with a key it has at most 2,500 bytes, so that both fit into one index
-- row. `text` is what the value is searched by, '' if by nothing. `ttl` is in microseconds.
-- Not clustered, as events are not: values may be documents.
CREATE TABLE keyvalues (
    part       {text} NOT NULL,
    namespace  {text} NOT NULL,
    key        {text} NOT NULL,
    value      {text},
    codec      {text},
    data       {bytes},
    text       {text} NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ttl        BIGINT,
    expires_at BIGINT,
    PRIMARY KEY (part, namespace, key)
);

CREATE INDEX keyvalues_expiring ON keyvalues (expires_at, part) WHERE expires_at IS NOT NULL;
