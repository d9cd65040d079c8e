-- Which transactions were committed, for callers whose connection was lost before they were told.
-- Written on servers only; rows go after a day. made_at below 0: it was not, and never can be.
CREATE TABLE outcomes (
    part    {text} NOT NULL,
    token   {text} NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (part, token)
) {clustered};

CREATE INDEX outcomes_made ON outcomes (made_at);
