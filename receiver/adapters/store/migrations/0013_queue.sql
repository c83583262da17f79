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

-- Each that waits, with whom it waits for: who holds the first thing that it wants, and who waits longer for one. Only
-- those count whose case is due for an executor, and who were seen within a minute.
CREATE VIEW lock_turns AS
SELECT mine.*, held.name AS held_name, held.reason AS held_by, held.case_id AS held_case, held.taken_at, held.until,
       earlier.reason AS after_reason, earlier.case_id AS after_case, earlier.since AS after_since,
       (SELECT min(name) FROM unnest(earlier.names) AS name WHERE name = ANY (mine.names)) AS after_name
FROM lock_queue AS mine
LEFT JOIN LATERAL (
    SELECT * FROM locks
    WHERE locks.name = ANY (mine.names) AND locks.run IS DISTINCT FROM mine.run
      AND (locks.until IS NULL OR locks.until > now())
    ORDER BY locks.name LIMIT 1
) AS held ON true
LEFT JOIN LATERAL (
    SELECT other.* FROM lock_queue AS other JOIN cases ON cases.id = other.case_id
    WHERE other.names && mine.names AND (other.since, other.run) < (mine.since, mine.run)
      AND other.seen_at > now() - interval '60 seconds' AND cases.is_open AND cases.role = 'execute'
    ORDER BY other.since, other.run LIMIT 1
) AS earlier ON true;

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

-- The one place that says which run needs a person.
CREATE VIEW unsettled_cases AS
SELECT id FROM cases
WHERE outcome = 'interrupted' AND NOT is_open
  AND NOT EXISTS (SELECT FROM resolutions WHERE case_id = cases.id AND settles);
