-- What agents make and keep: versions of bytes under a name. uid is '' for the scope of a user.
-- The bytes stand once for each person, by their SHA-256, in pieces of at most a mebibyte.
CREATE TABLE artifact_blobs (
    part       {text} NOT NULL,
    sha256     {text} NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (part, sha256)
) {clustered};

CREATE TABLE artifact_pieces (
    part       {text}  NOT NULL,
    sha256     {text}  NOT NULL,
    number     BIGINT  NOT NULL,
    data       {bytes} NOT NULL,
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (part, sha256, number),
    FOREIGN KEY (part, sha256) REFERENCES artifact_blobs (part, sha256) ON DELETE CASCADE
);

-- The last number that was given under a name. It stays when the versions are deleted.
CREATE TABLE artifact_names (
    part   {text} NOT NULL,
    uid    {text} NOT NULL,
    name   {text} NOT NULL,
    latest BIGINT NOT NULL,
    PRIMARY KEY (part, uid, name)
) {clustered};

-- seq is the head of the session when the version was saved, 0 in the scope of a user.
CREATE TABLE artifacts (
    part       {text} NOT NULL,
    uid        {text} NOT NULL,
    name       {text} NOT NULL,
    version    BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    mime_type  {text} NOT NULL,
    metadata   {text} NOT NULL,
    sha256     {text} NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (part, uid, name, version)
) {clustered};

CREATE INDEX artifacts_by_blob ON artifacts (part, sha256);
