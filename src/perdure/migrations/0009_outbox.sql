-- Facts that webhooks have still to be told, each by (part, id) and the digest of its webhook. They
-- are written with what they tell of, in its part: one transaction on one machine.
CREATE TABLE outbox (
    part       {text} NOT NULL,
    id         {text} NOT NULL,
    hook       {text} NOT NULL,
    kind       {text} NOT NULL,
    tenant     {text} NOT NULL,
    payload    {text} NOT NULL,
    created_at BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    failure    {text} NOT NULL,
    PRIMARY KEY (part, id, hook)
) {clustered};

CREATE INDEX outbox_due ON outbox (hook, due_at);
CREATE INDEX outbox_expiring ON outbox (expires_at);
