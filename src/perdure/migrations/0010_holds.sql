-- Who keeps a session (uid), or all of a person (uid ''), from being removed, and why. A hold that
-- was released stays on record until its session is removed.
CREATE TABLE holds (
    part        {text} NOT NULL,
    uid         {text} NOT NULL,
    author      {text} NOT NULL,
    reason      {text} NOT NULL,
    held_at     BIGINT NOT NULL,
    released_at BIGINT,
    released_by {text} NOT NULL,
    PRIMARY KEY (part, uid)
) {clustered};
