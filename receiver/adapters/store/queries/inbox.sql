-- name: connect_source
-- A source is connected once; what fired before that moment opens no case (rule S14).
INSERT INTO sources (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING;

-- name: sources
SELECT name, connected_at FROM sources;

-- name: store
-- One commit of the front door in one statement. Raw bodies first: whatever happens to the reading of them, they
-- are kept. Then one row per identity: a stale `firing` never revives a resolved one; a repeat only counts.
WITH kept AS (
    INSERT INTO deliveries (source, token, body)
    SELECT * FROM unnest(%(sources)b::text[], %(tokens)b::text[], %(bodies)b::bytea[])
    RETURNING id
),
told AS (
    INSERT INTO unreadable (delivery_id, source, position, reason)
    SELECT numbered.id, row.source, row.position, row.reason
    FROM jsonb_to_recordset(%(unreadable)s) AS row (post integer, source text, position integer, reason text)
    JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS post FROM kept) AS numbered USING (post)
)
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
RETURNING source, fingerprint, starts_at, (xmax = 0) AS is_new,
          CASE WHEN status = 'resolved' THEN case_id END AS resolved_case;

-- name: wake_resolved
-- `resolved` proves nothing; it is a reason to look now.
UPDATE cases SET due_at = least(due_at, now()), woken = true
WHERE id = ANY (%(cases)s) AND is_open AND kind IN ('proposed', 'executed');
