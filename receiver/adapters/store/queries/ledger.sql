-- name: now
SELECT now() AS now;

-- name: history
SELECT
    now() AS now,
    (SELECT max(coalesce(c.closed_at, now())) FROM cases c
      WHERE c.alertname = %(alertname)s AND c.entity IS NOT DISTINCT FROM %(entity)s AND c.id <> %(case)s
        AND c.source = %(source)s AND NOT c.is_open
        AND c.outcome IN ('fixed', 'not_fixed', 'no_data', 'failed', 'interrupted', 'cancelled', 'rejected',
                          'expired', 'notified', 'diagnosed', 'nothing_to_do')
        AND c.reason IS DISTINCT FROM 'closed') AS last_acted_at,
    (SELECT count(*) FROM alerts a
      WHERE a.source = %(source)s AND a.fingerprint = %(fingerprint)s
        AND a.received_at > now() - interval '1 hour') AS fires_last_hour,
    (SELECT count(*) FROM (
        SELECT DISTINCT c.fingerprint FROM cases c
        WHERE c.alertname = %(alertname)s AND c.source = %(source)s
          AND c.opened_at > %(opened_at)s - make_interval(secs => %(storm_seconds)s)
          AND c.opened_at < %(opened_at)s + make_interval(secs => %(storm_seconds)s)
        LIMIT 1000) AS storm) AS storm_alerts,
    (SELECT c.id::text FROM cases c
      WHERE c.alertname = %(alertname)s AND c.source = %(source)s
        AND c.opened_at > %(opened_at)s - make_interval(secs => %(storm_seconds)s)
        AND c.opened_at < %(opened_at)s + make_interval(secs => %(storm_seconds)s)
      ORDER BY c.number LIMIT 1) AS storm_case,
    (SELECT a.resolved_at FROM alerts a
      WHERE a.source = %(source)s AND a.fingerprint = %(fingerprint)s
        AND a.starts_at = %(starts_at)s) AS alert_resolved_at;

-- name: past
-- How earlier cases ended: failures of a day, the rest of 30 days.
SELECT what, playbook, count(*) AS count FROM (
    SELECT coalesce(c.playbook, '') AS playbook, c.closed_at,
           CASE WHEN c.outcome IN ('not_fixed', 'failed') THEN 'failed' ELSE c.outcome END AS what
    FROM cases c
    WHERE c.alertname = %(alertname)s AND c.source = %(source)s AND c.entity IS NOT DISTINCT FROM %(entity)s
      AND c.id <> %(case)s AND NOT c.is_open AND c.opened_at > now() - interval '31 days'
      AND c.outcome IN ('not_fixed', 'failed', 'fixed', 'rejected', 'self_resolved')
      AND c.reason IS DISTINCT FROM 'closed'
    ORDER BY c.opened_at DESC LIMIT 500) AS ended
WHERE closed_at > now() - CASE WHEN what = 'failed' THEN interval '1 day' ELSE interval '30 days' END
GROUP BY what, playbook;

-- name: slot_lock
-- One counter at a time, so that two guards never both take the last slot.
SELECT pg_advisory_xact_lock(hashtext('gitmedic.slots'));

-- name: slot_counts
SELECT
    count(*) FILTER (WHERE freed_at IS NULL) AS open,
    count(*) FILTER (WHERE taken_at > now() - interval '1 hour') AS hour,
    count(*) FILTER (WHERE case_id = %(case)s AND freed_at IS NULL) AS mine
FROM proposal_slots WHERE freed_at IS NULL OR taken_at > now() - interval '1 hour';

-- name: take_slot
INSERT INTO proposal_slots (case_id) VALUES (%(case)s)
ON CONFLICT (case_id) DO UPDATE SET freed_at = NULL;

-- name: learn
-- The outcome, once; the slot goes back, and the most severe case that waits for one is woken.
WITH kept AS (
    INSERT INTO track_record (case_id, alertname, entity, playbook, outcome, seconds)
    SELECT %(case)s, %(alertname)s, %(entity)s, %(playbook)s, %(outcome)s, %(seconds)s
    WHERE %(playbook)s <> ''
    ON CONFLICT (case_id) DO NOTHING
),
turned_down AS (
    INSERT INTO turned_down (case_id, source, alertname, entity, playbook, params, by)
    SELECT %(case)s, %(source)s, %(alertname)s, %(entity)s, %(playbook)s, %(params)s, %(why)s
    WHERE %(is_turned_down)s
    ON CONFLICT (case_id) DO NOTHING
),
cut_short AS (
    -- its executor died, and nobody came back to it before the case was over
    UPDATE attempts SET ended_at = now(), status = 'interrupted',
        result = jsonb_build_object('status', 'interrupted', 'why', 'the executor died in the middle of it',
                                    'started_at', begun_at, 'ended_at', now())
    WHERE case_id = %(case)s AND ended_at IS NULL
),
freed AS (
    UPDATE proposal_slots SET freed_at = now() WHERE case_id = %(case)s AND freed_at IS NULL
    RETURNING case_id
)
UPDATE cases SET due_at = now()
WHERE id = (SELECT id FROM cases WHERE waiting LIKE 'proposal_limit%%' AND due_at > now()
            ORDER BY severity, opened_at LIMIT 1 FOR UPDATE SKIP LOCKED)
  AND EXISTS (SELECT FROM freed);

-- name: paused
SELECT paused FROM installation;

-- name: pause
UPDATE installation SET paused = %(why)s;

-- name: adopted
SELECT commit, old, actor, at FROM adoptions ORDER BY id DESC LIMIT 1;

-- name: track
SELECT count(*) FILTER (WHERE outcome = 'fixed') AS fixed,
       count(*) FILTER (WHERE outcome IN ('not_fixed', 'no_data', 'failed', 'interrupted')) AS not_fixed,
       count(*) FILTER (WHERE outcome IN ('rejected', 'expired', 'superseded', 'self_resolved')) AS not_run
FROM track_record WHERE alertname = %(alertname)s AND playbook = %(playbook)s;

-- name: fresh_since
-- Of the instance that asks; of the youngest one for whoever has none.
SELECT max(since) AS since FROM instances WHERE id = coalesce(%(id)s::text, id);

-- name: appear
-- A new id, or a silence, begins a new life: what was approved before it needs a fresh approval.
SELECT instance_appears(%(id)s);

-- name: turned_down
SELECT max(at) AS at FROM turned_down
WHERE source = %(source)s AND alertname = %(alertname)s AND entity = %(entity)s AND playbook = %(playbook)s
  AND params = %(params)s;
