-- What an agent has asked a person, and what came of it. uid is '' where no session asks. `digest`
-- is that of the question: of one session, or person, a question is pending at most once.
-- `options` is a JSON list of texts. answered_at is when it ended, whichever way.
CREATE TABLE clarifications (
    part           {text} NOT NULL,
    uid            {text} NOT NULL,
    id             {text} NOT NULL,
    tenant         {text} NOT NULL,
    app            {text} NOT NULL,
    user_id        {text} NOT NULL,
    app_part       {text} NOT NULL,
    session_id     {text} NOT NULL,
    digest         {text} NOT NULL,
    question       {text} NOT NULL,
    context        {text} NOT NULL,
    options        {text} NOT NULL,
    sender_context {text} NOT NULL,
    status         {text} NOT NULL,
    answer         {text},
    answered_by    {text} NOT NULL,
    created_at     BIGINT NOT NULL,
    answered_at    BIGINT,
    expires_at     BIGINT,
    PRIMARY KEY (part, uid, id)
);

CREATE UNIQUE INDEX clarifications_id ON clarifications (part, id);
CREATE UNIQUE INDEX clarifications_asked ON clarifications (part, uid, digest)
WHERE status = 'pending';
CREATE INDEX clarifications_by_user ON clarifications (part, created_at, id);
CREATE INDEX clarifications_by_app ON clarifications (app_part, created_at, id);
CREATE INDEX clarifications_open ON clarifications (tenant, created_at, id)
WHERE status = 'pending';
CREATE INDEX clarifications_expiring ON clarifications (expires_at) WHERE status = 'pending';
CREATE INDEX clarifications_ended ON clarifications (answered_at) WHERE status <> 'pending';
