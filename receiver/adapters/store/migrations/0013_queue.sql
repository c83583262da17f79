-- The queue before the locks, hosts one by one, runs called off before they begin, and what becomes of interrupted ones.

-- A person's lock may end by itself.
ALTER TABLE locks ADD COLUMN until timestamptz;

-- Who waits, for what, and since when: whoever waits longest goes first. One that was not seen lately holds nobody up,
-- and keeps its place.
CREATE TABLE lock_queue (
    run     uuid PRIMARY KEY,
    case_id uuid NOT NULL REFERENCES cases (id),
    names   text[] NOT NULL,
    reason  text NOT NULL,
    since   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX lock_queue_order ON lock_queue (since, run);

-- A run goes host by host: one row for each step, written before its process exists.
CREATE TABLE run_steps (
    run      uuid NOT NULL,
    step     integer NOT NULL CHECK (step >= 0),
    attempt  uuid NOT NULL REFERENCES attempts (id),
    hosts    text[] NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    result   jsonb,
    PRIMARY KEY (run, step)
);
-- Runs of the version before this one, which knew no steps.
INSERT INTO run_steps (run, step, attempt, hosts, begun_at)
SELECT attempts.run, 0, attempts.id,
       ARRAY(SELECT jsonb_array_elements_text(cases.body #> '{runfile,targets}')), attempts.begun_at
FROM attempts JOIN cases ON cases.id = attempts.case_id
WHERE attempts.mode = 'run' AND attempts.ended_at IS NULL;

-- What a run said after it had been given up: kept once, changes nothing.
ALTER TABLE attempts ADD COLUMN late jsonb;
-- Who called a run off before it began.
ALTER TABLE cases ADD COLUMN cancel_by text;

-- What people did about a run that was interrupted. The case needs a person until one of these settles it.
CREATE TABLE resolutions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id     uuid NOT NULL REFERENCES cases (id),
    act         text NOT NULL CHECK (act IN ('verify', 'propose', 'close')),
    actor       text NOT NULL,
    reason      text NOT NULL DEFAULT '',
    asked_at    timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz,
    verdict     text,
    why         text NOT NULL DEFAULT '',
    opened      uuid,     -- the case that was opened instead
    settles     boolean NOT NULL DEFAULT false
);
CREATE INDEX resolutions_case ON resolutions (case_id, id);
CREATE INDEX resolutions_asked ON resolutions (id) WHERE answered_at IS NULL;
CREATE UNIQUE INDEX resolutions_settled ON resolutions (case_id) WHERE settles;
CREATE INDEX cases_interrupted ON cases (number) WHERE outcome = 'interrupted' AND NOT is_open;
