-- What is to be run when: `part` is that of the app. `next_run_at` is the slot that comes next, NULL
-- while the task is switched off; `version` counts the changes of it. Times, `timeout` too, are
-- microseconds; `action` is JSON.
CREATE TABLE cron_tasks (
    part              {text} NOT NULL,
    id                {text} NOT NULL,
    tenant            {text} NOT NULL,
    app               {text} NOT NULL,
    name              {text} NOT NULL,
    expression        {text} NOT NULL,
    timezone          {text} NOT NULL,
    action            {text} NOT NULL,
    enabled           BIGINT NOT NULL,
    paused_by         {text} NOT NULL,
    source            {text} NOT NULL,
    misfire           {text} NOT NULL,
    misfire_limit     BIGINT NOT NULL,
    overlap           {text} NOT NULL,
    timeout           BIGINT,
    last_triggered_at BIGINT,
    next_run_at       BIGINT,
    version           BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    PRIMARY KEY (part, id)
);

CREATE UNIQUE INDEX cron_tasks_named ON cron_tasks (part, name);
CREATE INDEX cron_tasks_due ON cron_tasks (tenant, next_run_at) WHERE next_run_at IS NOT NULL;

-- What became of each slot. The id of a slot's run is made of the task and the slot, so the primary
-- key lets it run once. `until` is the end of the lease of a run under way; `session_part` and
-- `session_uid` are the session it made, without a name of anybody.
CREATE TABLE cron_runs (
    part         {text} NOT NULL,
    id           {text} NOT NULL,
    tenant       {text} NOT NULL,
    app          {text} NOT NULL,
    task_id      {text} NOT NULL,
    task_name    {text} NOT NULL,
    cause        {text} NOT NULL,
    alone        BIGINT NOT NULL,
    scheduled_at BIGINT NOT NULL,
    status       {text} NOT NULL,
    owner        {text} NOT NULL,
    until        BIGINT,
    started_at   BIGINT,
    finished_at  BIGINT,
    failure      {text} NOT NULL,
    run_id       {text} NOT NULL,
    session_part {text} NOT NULL,
    session_uid  {text} NOT NULL,
    expires_at   BIGINT,
    PRIMARY KEY (part, id)
);

CREATE INDEX cron_runs_of_task ON cron_runs (part, task_id, scheduled_at, id);
CREATE INDEX cron_runs_of_app ON cron_runs (part, scheduled_at, id);
CREATE INDEX cron_runs_open ON cron_runs (part, task_id) WHERE finished_at IS NULL;
CREATE INDEX cron_runs_waiting ON cron_runs (tenant, scheduled_at) WHERE status = 'queued';
CREATE INDEX cron_runs_leased ON cron_runs (tenant, until) WHERE until IS NOT NULL;
CREATE INDEX cron_runs_expiring ON cron_runs (expires_at) WHERE expires_at IS NOT NULL;
