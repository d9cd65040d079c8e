-- What a conversation was about, up to an event. `anchor` is the event that the line goes on with
-- after a prune has removed the one at `covers_seq`; where none was kept, the last seq there was,
-- below 0: the line goes on with a later one.
-- Not clustered, as events are not: a text would spill into a page of its own.
CREATE TABLE summaries (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    filter_key {text} NOT NULL,
    summary    {text} NOT NULL,
    topics     {text} NOT NULL,
    covers_seq BIGINT NOT NULL,
    anchor     BIGINT,
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid, filter_key),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
);

-- Which summaries are to be made, under which lease. `asked` counts the askings, so that one that comes while the job
-- is being done is not lost; `due_at` is NULL where no more tries are made.
CREATE TABLE summary_jobs (
    part        {text} NOT NULL,
    uid         {text} NOT NULL,
    filter_key  {text} NOT NULL,
    tenant      {text} NOT NULL,
    lease       {text} NOT NULL,
    options     {text} NOT NULL,
    asked       BIGINT NOT NULL,
    enqueued_at BIGINT NOT NULL,
    due_at      BIGINT,
    attempts    BIGINT NOT NULL,
    error       {text},
    PRIMARY KEY (part, uid, filter_key),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};

CREATE INDEX summary_jobs_due ON summary_jobs (tenant, due_at) WHERE due_at IS NOT NULL;

-- Up to which event the message-level view hides what came before.
CREATE TABLE history_marks (
    part        {text} NOT NULL,
    uid         {text} NOT NULL,
    hidden_upto BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (part, uid),
    FOREIGN KEY (part, uid) REFERENCES sessions (part, uid) ON DELETE CASCADE
) {clustered};
