-- name: take
-- All or none: names are inserted in one order; a conflict leaves fewer rows than were asked for.
INSERT INTO locks (name, run, case_id, reason)
SELECT name, %(run)s, %(case)s, %(reason)s FROM unnest(%(names)s::text[]) AS name ORDER BY name
ON CONFLICT (name) DO UPDATE SET reason = locks.reason WHERE locks.run = excluded.run
RETURNING name;

-- name: holders
SELECT name, reason, case_id::text AS case_id, taken_at FROM locks
WHERE name = ANY (%(names)s) AND run IS DISTINCT FROM %(run)s ORDER BY name;

-- name: free
WITH freed AS (DELETE FROM locks WHERE run = %(run)s RETURNING name)
UPDATE cases SET due_at = now()
WHERE kind = 'approved' AND waiting LIKE 'lock%%' AND due_at > now() AND EXISTS (SELECT FROM freed);

-- name: hold
INSERT INTO locks (name, reason) VALUES (%(name)s, %(reason)s) ON CONFLICT (name) DO NOTHING RETURNING name;

-- name: release
WITH freed AS (DELETE FROM locks WHERE name = %(name)s AND run IS NULL RETURNING name)
SELECT name FROM freed;

-- name: all
SELECT name, run::text AS run, case_id::text AS case_id, reason, taken_at FROM locks ORDER BY name;

-- name: sweep
-- A lock whose run has ended, or whose case is closed, was left by a crash.
DELETE FROM locks USING cases
WHERE locks.case_id = cases.id AND (NOT cases.is_open OR cases.kind NOT IN ('approved'))
RETURNING locks.name;
