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

-- name: holders
SELECT name, reason, case_id::text AS case_id, taken_at, until FROM locks
WHERE name = ANY (%(names)s) AND run IS DISTINCT FROM %(run)s ORDER BY name LIMIT 1;

-- name: earlier
-- Who waits longer for one of these; a waiter that nobody has seen for a minute holds nobody up.
SELECT earlier.run::text AS run, earlier.reason, earlier.case_id::text AS case_id, earlier.since,
       (SELECT min(name) FROM unnest(earlier.names) AS name WHERE name = ANY (%(names)s)) AS name
FROM lock_queue AS earlier
WHERE earlier.names && %(names)s AND earlier.run <> %(run)s AND earlier.seen_at > now() - interval '60 seconds'
  AND (earlier.since, earlier.run) < (SELECT since, run FROM lock_queue WHERE run = %(run)s)
  AND EXISTS (SELECT FROM cases WHERE cases.id = earlier.case_id AND cases.is_open AND cases.kind = 'approved')
ORDER BY earlier.since, earlier.run LIMIT 1;

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
FROM lock_queue AS mine
WHERE cases.id = mine.case_id AND cases.kind = 'approved' AND mine.names && %(names)s
  AND NOT EXISTS (
      SELECT FROM locks
      WHERE locks.name = ANY (mine.names) AND locks.run IS DISTINCT FROM mine.run AND (until IS NULL OR until > now()))
  AND NOT EXISTS (
      SELECT FROM lock_queue AS earlier
      WHERE earlier.names && mine.names AND (earlier.since, earlier.run) < (mine.since, mine.run)
        AND earlier.seen_at > now() - interval '60 seconds');

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
       coalesce(
           (SELECT locks.name || ' is held by ' || locks.reason FROM locks
            WHERE locks.name = ANY (mine.names) AND locks.run IS DISTINCT FROM mine.run
              AND (locks.until IS NULL OR locks.until > now())
            ORDER BY locks.name LIMIT 1),
           (SELECT 'its turn comes after ' || earlier.reason FROM lock_queue AS earlier
            WHERE earlier.names && mine.names AND (earlier.since, earlier.run) < (mine.since, mine.run)
            ORDER BY earlier.since, earlier.run LIMIT 1),
           'next') AS waits_for
FROM lock_queue AS mine JOIN cases ON cases.id = mine.case_id
WHERE cases.is_open AND cases.kind = 'approved'
ORDER BY mine.since, mine.run;

-- name: sweep
-- A lock whose run has ended, or whose case is closed, was left by a crash.
DELETE FROM locks USING cases
WHERE locks.case_id = cases.id AND (NOT cases.is_open OR cases.kind NOT IN ('approved'))
RETURNING ARRAY[locks.name] AS names;

-- name: sweep_queue
DELETE FROM lock_queue USING cases
WHERE lock_queue.case_id = cases.id AND (NOT cases.is_open OR cases.kind NOT IN ('approved'))
RETURNING lock_queue.names;
