-- Who may do a thing that only one is to do at a time, and until when. `token` grows with each
-- owner, so that what an earlier one still does can be told from it.
CREATE TABLE leases (
    part  {text} NOT NULL,
    name  {text} NOT NULL,
    owner {text} NOT NULL,
    token BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (part, name)
) {clustered};
