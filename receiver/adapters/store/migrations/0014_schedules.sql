-- What policy.yml schedules: up to when each was looked at, and one row for every planned moment.
CREATE TABLE schedules (
    name    text PRIMARY KEY,
    rule    text NOT NULL,          -- cron and zone; with another rule moments are counted from then on
    since   timestamptz NOT NULL DEFAULT now(),  -- every moment up to here has its row
    next_at timestamptz             -- the next planned moment, without its jitter
);

-- The unique key is what makes a moment go off once, however many planners look.
CREATE TABLE schedule_runs (
    number     bigint GENERATED ALWAYS AS IDENTITY,
    name       text NOT NULL,
    planned_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,  -- planned_at and the jitter
    fate       text NOT NULL CHECK (fate IN ('ran', 'missed', 'disabled', 'observed', 'paused', 'overlap', 'refused')),
    why        text NOT NULL DEFAULT '',
    by         text NOT NULL,
    commit     text NOT NULL,         -- of the policy that said so
    cases      uuid[] NOT NULL DEFAULT '{}',
    filed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, planned_at)
);
CREATE INDEX schedule_runs_recent ON schedule_runs (number DESC);
CREATE INDEX schedule_runs_filed ON schedule_runs (filed_at);
