-- name: any_waiting
SELECT FROM alerts WHERE case_id IS NULL AND why IS NULL LIMIT 1;

-- name: waiting
-- Stored and never looked at: oldest first. Who finds one locked leaves it to the other worker.
SELECT id, source, fingerprint, starts_at, 'firing' AS status, labels, annotations, ends_at, generator_url, truncated,
       received_at
FROM alerts WHERE case_id IS NULL AND why IS NULL
ORDER BY id LIMIT %(most)s
FOR UPDATE SKIP LOCKED;

-- name: open
-- At most one open case per fingerprint; the others are linked below as its duplicates.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s)
        AS row (id uuid, body jsonb, severity smallint, source text, fingerprint text, alertname text,
                opened_at timestamptz)
),
opened AS (
    INSERT INTO cases (id, kind, body, role, due_at, severity, source, fingerprint, alertname, events, opened_at)
    SELECT id, 'received', body, 'plan', now(), severity, source, fingerprint, alertname, 1, opened_at
    FROM given ORDER BY source, fingerprint, opened_at
    ON CONFLICT (source, fingerprint) WHERE is_open AND source IS NOT NULL DO NOTHING
    RETURNING id, opened_at
),
told AS (
    INSERT INTO case_events (case_id, seq, at, kind, actor, text)
    SELECT id, 1, opened_at, 'case.received', 'system', 'an alert was stored' FROM opened
)
SELECT id FROM opened;

-- name: link
UPDATE alerts SET case_id = given.case_id
FROM unnest(%(alerts)s::bigint[], %(cases)s::uuid[]) AS given (alert_id, case_id)
WHERE alerts.id = given.alert_id;

-- name: link_duplicates
UPDATE alerts SET case_id = cases.id, why = 'duplicate'
FROM cases
WHERE alerts.id = ANY (%(alerts)s) AND cases.is_open
  AND cases.source = alerts.source AND cases.fingerprint = alerts.fingerprint;

-- name: give_up
-- What this version cannot read as an alert stays a row that says so, and holds nobody up.
UPDATE alerts SET why = 'unreadable' WHERE id = ANY (%(alerts)s);
