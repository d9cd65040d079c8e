-- `fence` grows with every lease of a session (NULL: there was none), and a write that gives an
-- older one is refused. It is in the row that such a write takes anyway.
ALTER TABLE sessions ADD COLUMN fence BIGINT;

-- What the steps of runs gave, each once. uid is '' where no session was named; the keys
-- are digests of run_id and name, since two free texts may not meet in one.
CREATE TABLE run_steps (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    run_key    {text} NOT NULL,
    name_key   {text} NOT NULL,
    run_id     {text} NOT NULL,
    name       {text} NOT NULL,
    value      {text},
    codec      {text},
    data       {bytes},
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (part, uid, run_key, name_key)
) {clustered};

CREATE INDEX run_steps_expiring ON run_steps (expires_at) WHERE expires_at IS NOT NULL;
