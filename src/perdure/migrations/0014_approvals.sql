-- Pauses until somebody says yes or no. `uid` is '' for one that belongs to no session. `call_key`
-- is the digest of (uid, thread_id, tool_call_id): the same call is the same approval; NULL where
-- no call is named. `request` is the digest of what was asked for. `args_sha256` and
-- `edited_sha256` are of the arguments as they are to be run. `closed_at` is set when no step can
-- follow; `steps` counts them.
-- Not clustered, as events are not: arguments would spill into a page of their own.
CREATE TABLE approvals (
    part           {text} NOT NULL,
    uid            {text} NOT NULL,
    id             {text} NOT NULL,
    tenant         {text} NOT NULL,
    app            {text} NOT NULL,
    user_id        {text} NOT NULL,
    app_part       {text} NOT NULL,
    session_id     {text} NOT NULL,
    kind           {text} NOT NULL,
    tool_name      {text} NOT NULL,
    args           {text} NOT NULL,
    args_sha256    {text} NOT NULL,
    status         {text} NOT NULL,
    thread_id      {text} NOT NULL,
    run_id         {text} NOT NULL,
    tool_call_id   {text} NOT NULL,
    call_key       {text},
    request        {text} NOT NULL,
    payload        {text} NOT NULL,
    codec          {text},
    data           {bytes},
    question       {text} NOT NULL,
    sender_context {text} NOT NULL,
    created_by     {text} NOT NULL,
    agent          {text} NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT,
    resolved_at    BIGINT,
    resolved_by    {text} NOT NULL,
    feedback       {text} NOT NULL,
    edited_args    {text},
    edited_sha256  {text},
    rule           {text} NOT NULL,
    consumed_at    BIGINT,
    closed_at      BIGINT,
    steps          BIGINT NOT NULL,
    PRIMARY KEY (part, uid, id)
);

CREATE UNIQUE INDEX approvals_id ON approvals (part, id);
CREATE UNIQUE INDEX approvals_call ON approvals (part, call_key) WHERE call_key IS NOT NULL;
CREATE INDEX approvals_by_user ON approvals (part, created_at, id);
CREATE INDEX approvals_by_app ON approvals (app_part, created_at, id);
CREATE INDEX approvals_by_tenant ON approvals (tenant, created_at, id);
CREATE INDEX approvals_pending ON approvals (tenant, created_at, id) WHERE status = 'pending';
CREATE INDEX approvals_expiring ON approvals (expires_at) WHERE closed_at IS NULL;
CREATE INDEX approvals_closed ON approvals (closed_at) WHERE closed_at IS NOT NULL;

-- Who has moved an approval, when, from what to what. `number` counts its steps.
CREATE TABLE approval_audit (
    part        {text} NOT NULL,
    uid         {text} NOT NULL,
    id          {text} NOT NULL,
    number      BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    author      {text} NOT NULL,
    from_status {text} NOT NULL,
    to_status   {text} NOT NULL,
    rule        {text} NOT NULL,
    PRIMARY KEY (part, uid, id, number)
) {clustered};

-- Approvals that count for later calls, too, by the digest of (uid, thread_id, tool_name,
-- args_sha256).
CREATE TABLE approvals_remembered (
    part        {text} NOT NULL,
    uid         {text} NOT NULL,
    digest      {text} NOT NULL,
    tenant      {text} NOT NULL,
    app         {text} NOT NULL,
    user_id     {text} NOT NULL,
    session_id  {text} NOT NULL,
    thread_id   {text} NOT NULL,
    tool_name   {text} NOT NULL,
    args_sha256 {text},
    approval_id {text} NOT NULL,
    created_by  {text} NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (part, uid, digest)
) {clustered};

CREATE INDEX approvals_remembered_until ON approvals_remembered (expires_at);
