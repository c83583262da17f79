-- name: alone
-- One at a time: who is next is a question over all rows.
SELECT pg_advisory_xact_lock(hashtext('gitmedic.locks'));

-- name: held
-- `FOR SHARE`: nobody takes it away in this very moment.
SELECT id FROM cases WHERE id = %(case)s AND fence = %(fence)s AND lease_until IS NOT NULL FOR SHARE;

-- name: expire
-- A person's lock that has had its time.
DELETE FROM locks WHERE until <= now();

-- name: queue
-- Keeps its place in the queue, whatever it asks for now.
INSERT INTO lock_queue (run, case_id, names, reason) VALUES (%(run)s, %(case)s, %(names)s, %(reason)s)
ON CONFLICT (run) DO UPDATE SET names = excluded.names, reason = excluded.reason, seen_at = now();

-- name: turn
SELECT * FROM lock_turns WHERE run = %(run)s;

-- name: take
WITH taken AS (
    INSERT INTO locks (name, run, case_id, reason)
    SELECT name, %(run)s, %(case)s, %(reason)s FROM unnest(%(names)s::text[]) AS name
    ON CONFLICT (name) DO NOTHING
)
DELETE FROM lock_queue WHERE run = %(run)s;

-- name: free
DELETE FROM locks WHERE run = %(run)s RETURNING ARRAY[name] AS names;

-- name: leave
DELETE FROM lock_queue WHERE run = %(run)s RETURNING names;

-- name: wake
-- Only those that can go now: nobody holds what they want, nobody waits longer for it.
UPDATE cases SET due_at = now(), woken = true
FROM lock_turns AS mine
WHERE cases.id = mine.case_id AND cases.is_open AND cases.role = 'execute' AND mine.names && %(names)s
  AND mine.held_name IS NULL AND mine.after_name IS NULL;

-- name: hold
INSERT INTO locks (name, reason, until)
VALUES (%(name)s, %(reason)s, now() + make_interval(secs => %(seconds)s::double precision))
ON CONFLICT (name) DO NOTHING RETURNING name, until;

-- name: release
DELETE FROM locks WHERE name = %(name)s AND run IS NULL RETURNING ARRAY[name] AS names;

-- name: all
SELECT name, run::text AS run, case_id::text AS case_id, reason, taken_at, until FROM locks
WHERE until IS NULL OR until > now() ORDER BY name;

-- name: waiting
-- The queue in its order, each with the first that it waits for: a holder, or one that waits longer.
SELECT row_number() OVER (ORDER BY mine.since, mine.run) AS position, mine.run::text AS run,
       mine.case_id::text AS case_id, mine.reason, mine.names, mine.since,
       coalesce(held_name || ' is held by ' || held_by, 'its turn comes after ' || after_reason, 'next') AS waits_for
FROM lock_turns AS mine JOIN cases ON cases.id = mine.case_id
WHERE cases.is_open AND cases.role = 'execute'
ORDER BY mine.since, mine.run;

-- name: sweep
-- A lock whose run has ended, or whose case is nobody's to run any more, was left by a crash.
DELETE FROM locks USING cases
WHERE locks.case_id = cases.id AND (NOT cases.is_open OR cases.role <> 'execute')
RETURNING ARRAY[locks.name] AS names;

-- name: sweep_queue
DELETE FROM lock_queue USING cases
WHERE lock_queue.case_id = cases.id AND (NOT cases.is_open OR cases.role <> 'execute')
RETURNING lock_queue.names;
