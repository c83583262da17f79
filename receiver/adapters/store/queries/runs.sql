-- name: ask_clearance
-- Ask, or read the answer; one older than a minute counts as never given. Only by who has the case in hand.
INSERT INTO clearances AS known (run, case_id)
SELECT %(run)s, held.id
FROM (SELECT id FROM cases WHERE id = %(case)s AND fence = coalesce(%(fence)s::bigint, fence) FOR SHARE) AS held
ON CONFLICT (run) DO UPDATE SET
    asked_at = CASE WHEN known.answered_at < now() - interval '60 seconds' THEN now() ELSE known.asked_at END,
    answered_at = CASE WHEN known.answered_at < now() - interval '60 seconds' THEN NULL ELSE known.answered_at END,
    body = CASE WHEN known.answered_at < now() - interval '60 seconds' THEN NULL ELSE known.body END
RETURNING body;

-- name: drop_clearance
-- A used or refused answer is never used again. Whoever has the case now asked for the one that is there now.
WITH held AS (
    SELECT id FROM cases WHERE id = %(case)s::uuid AND fence = %(fence)s::bigint FOR SHARE
),
gone AS (
    DELETE FROM clearances
    WHERE run = %(run)s AND (%(case)s::uuid IS NULL OR case_id IN (SELECT id FROM held))
)
SELECT %(case)s::uuid IS NULL OR EXISTS (SELECT FROM held) AS is_held;

-- name: wanted_clearances
SELECT cases.body FROM clearances JOIN cases ON cases.id = clearances.case_id
WHERE clearances.answered_at IS NULL AND cases.kind = 'approved'
ORDER BY cases.severity, clearances.asked_at LIMIT 20;

-- name: answer_clearance
UPDATE clearances SET answered_at = now(), body = %(body)s WHERE run = %(run)s AND answered_at IS NULL;

-- name: rehearsal_lock
SELECT pg_advisory_xact_lock(hashtext('gitmedic.rehearsals'));

-- name: live_rehearsals
SELECT count(*) AS count FROM attempts
WHERE mode = 'check' AND ended_at IS NULL AND alive_at > now() - interval '30 seconds';

-- name: interrupt_rehearsals
-- Cut short by a crash: whoever begins it anew holds the case, so nobody is at it any more.
UPDATE attempts SET ended_at = now(), status = 'interrupted',
    result = jsonb_build_object('status', 'interrupted', 'why', %(why)s::text, 'started_at', begun_at,
                                'ended_at', now())
WHERE run = %(run)s AND mode = 'check' AND ended_at IS NULL;

-- name: begin
-- Only by who has the case in hand; `FOR SHARE`: nobody takes it away in this very moment.
INSERT INTO attempts (id, run, case_id, mode, instance)
SELECT %(id)s, %(run)s, held.id, %(mode)s, %(instance)s
FROM (SELECT id FROM cases WHERE id = %(case)s AND fence = coalesce(%(fence)s::bigint, fence) FOR SHARE) AS held;

-- name: touch
UPDATE attempts SET alive_at = now() WHERE id = %(attempt)s AND ended_at IS NULL
RETURNING coalesce(cancel_by, CASE WHEN mode = 'run' THEN
    (SELECT cases.cancel_by FROM cases WHERE cases.id = attempts.case_id) END) AS cancel_by;

-- name: record
-- Gives the attempt while it is open.
WITH open AS (SELECT id FROM attempts WHERE id = %(attempt)s AND ended_at IS NULL),
kept AS (
    INSERT INTO run_events (attempt_id, seq, at, kind, host, task, text, diff, data)
    SELECT open.id, seq, at, kind, host, task, text, diff, data
    FROM open, jsonb_to_recordset(%(rows)s)
        AS row (seq integer, at timestamptz, kind text, host text, task text, text text, diff text, data jsonb)
    ON CONFLICT DO NOTHING
)
SELECT id FROM open;

-- name: finish
-- Once. What a run says after it was given up is kept beside it, once, and told.
WITH ended AS (
    UPDATE attempts SET ended_at = now(), status = %(status)s, result = %(result)s
    WHERE id = %(attempt)s AND ended_at IS NULL
    RETURNING id
),
late AS (
    UPDATE attempts SET late = %(result)s
    WHERE id = %(attempt)s AND ended_at IS NOT NULL AND status = 'interrupted' AND late IS NULL
      AND %(status)s <> 'interrupted' AND NOT EXISTS (SELECT FROM ended)
    RETURNING case_id
),
noted AS (
    UPDATE cases SET events = events + 1 FROM late WHERE cases.id = late.case_id RETURNING cases.id, events
)
INSERT INTO case_events (case_id, seq, kind, actor, text)
SELECT id, events, 'run.reported_late', 'system', 'its executor said later: the run ended ' || %(status)s FROM noted;

-- name: begin_step
-- Only while its attempt is open: whoever takes the run over ends that first.
INSERT INTO run_steps (run, step, attempt, hosts)
SELECT %(run)s, %(step)s, open.id, %(hosts)s
FROM (SELECT id FROM attempts WHERE id = %(attempt)s AND ended_at IS NULL FOR SHARE) AS open
ON CONFLICT DO NOTHING RETURNING step;

-- name: end_step
UPDATE run_steps SET ended_at = now(), result = %(result)s WHERE run = %(run)s AND step = %(step)s AND ended_at IS NULL;

-- name: steps
SELECT step AS number, hosts, run_steps.begun_at, run_steps.result, attempts.instance
FROM run_steps JOIN attempts ON attempts.id = run_steps.attempt WHERE run_steps.run = %(run)s ORDER BY step;

-- name: called_off
SELECT cancel_by FROM cases WHERE run = %(run)s AND cancel_by IS NOT NULL;

-- name: attempt_of
SELECT id::text, result, begun_at FROM attempts WHERE run = %(run)s AND mode = %(mode)s ORDER BY begun_at DESC LIMIT 1;
