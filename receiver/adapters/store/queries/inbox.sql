-- name: connect_source
-- A source is connected once; what fired before that moment opens no case (rule S14).
INSERT INTO sources (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING;

-- name: sources
SELECT name, connected_at FROM sources;

-- name: store_deliveries
-- Raw bodies first: whatever happens to the reading of them, they are kept.
INSERT INTO deliveries (source, token, body)
SELECT * FROM unnest(%(sources)s::text[], %(tokens)s::text[], %(bodies)s::bytea[])
RETURNING id;

-- name: store_unreadable
INSERT INTO unreadable (delivery_id, source, position, reason)
SELECT * FROM jsonb_to_recordset(%(rows)s)
    AS row (delivery_id bigint, source text, position integer, reason text);

-- name: store_alerts
-- One row per identity. A stale `firing` never revives a resolved one; a repeat only counts.
INSERT INTO alerts AS known (source, fingerprint, starts_at, status, labels, annotations, ends_at,
                             generator_url, truncated, times_seen, resolved_at, why)
SELECT source, fingerprint, starts_at, status, labels, annotations, ends_at, generator_url, truncated,
       times_seen, CASE WHEN status = 'resolved' THEN now() END, why
FROM jsonb_to_recordset(%(rows)s)
    AS row (source text, fingerprint text, starts_at timestamptz, status text, labels jsonb,
            annotations jsonb, ends_at timestamptz, generator_url text, truncated boolean,
            times_seen bigint, why text)
ORDER BY source, fingerprint, starts_at
ON CONFLICT (source, fingerprint, starts_at) DO UPDATE
SET times_seen   = known.times_seen + excluded.times_seen,
    last_seen_at = now(),
    truncated    = known.truncated OR excluded.truncated,
    ends_at      = coalesce(excluded.ends_at, known.ends_at),
    resolved_at  = coalesce(known.resolved_at, excluded.resolved_at),
    status       = CASE WHEN known.status = 'resolved' THEN 'resolved' ELSE excluded.status END
RETURNING id, source, fingerprint, starts_at, why, case_id, status, (xmax = 0) AS is_new;

-- name: open_cases
-- At most one open case per fingerprint; the others learn below that they are duplicates.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s)
        AS row (id uuid, alert_id bigint, body jsonb, severity smallint, source text, fingerprint text,
                alertname text)
),
opened AS (
    INSERT INTO cases (id, kind, body, role, due_at, severity, source, fingerprint, alertname, events)
    SELECT id, 'received', body, 'plan', now(), severity, source, fingerprint, alertname, 1
    FROM given ORDER BY source, fingerprint, alert_id
    ON CONFLICT (source, fingerprint) WHERE is_open AND source IS NOT NULL DO NOTHING
    RETURNING id
),
told AS (
    INSERT INTO case_events (case_id, seq, kind, actor, text)
    SELECT id, 1, 'case.received', 'system', 'an alert was stored' FROM opened
)
SELECT id FROM opened;

-- name: link_alerts
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s)
        AS row (id uuid, alert_id bigint, source text, fingerprint text)
)
UPDATE alerts SET
    case_id = coalesce(own.id, other.id),
    why = CASE WHEN own.id IS NULL THEN 'duplicate' END
FROM given
LEFT JOIN cases own ON own.id = given.id
LEFT JOIN cases other ON other.source = given.source AND other.fingerprint = given.fingerprint AND other.is_open
WHERE alerts.id = given.alert_id;

-- name: wake_resolved
-- `resolved` proves nothing; it is a reason to look now.
UPDATE cases SET due_at = now()
WHERE id = ANY (%(cases)s) AND is_open AND kind IN ('proposed', 'executed') AND due_at > now();
