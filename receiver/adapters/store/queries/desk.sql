-- name: open
-- At most one open case per alert, also when a person opens it.
WITH opened AS (
    INSERT INTO cases (id, kind, body, role, due_at, playbook, entity, site, severity, events, source, fingerprint,
                       alertname)
    VALUES (%(id)s, %(kind)s, %(body)s, %(role)s, now(), %(playbook)s, %(entity)s, %(site)s, %(severity)s,
            jsonb_array_length(%(events)s), %(source)s, %(fingerprint)s, %(alertname)s)
    ON CONFLICT (source, fingerprint) WHERE is_open AND source IS NOT NULL DO NOTHING
    RETURNING id
)
INSERT INTO case_events (case_id, seq, kind, actor, text, data)
SELECT opened.id, given.number, event->>'kind', event->>'actor', event->>'text', event->'data'
FROM opened, jsonb_array_elements(%(events)s) WITH ORDINALITY AS given (event, number)
RETURNING case_id;

-- name: note
WITH noted AS (
    UPDATE cases SET events = events + 1, due_at = CASE WHEN %(wake)s AND is_open THEN now() ELSE due_at END,
                     woken = woken OR (%(wake)s AND is_open)
    WHERE id = %(case)s RETURNING id, events
)
INSERT INTO case_events (case_id, seq, kind, actor, text, data)
SELECT id, events, %(kind)s, %(actor)s, %(text)s, %(data)s FROM noted;

-- name: wake
UPDATE cases SET due_at = least(due_at, now()), woken = true WHERE id = %(case)s AND is_open;

-- name: cancel
UPDATE attempts SET cancel_by = %(actor)s
WHERE run = %(run)s AND ended_at IS NULL AND alive_at > now() - interval '30 seconds'
RETURNING case_id::text AS case_id;

-- name: call_off
-- Approved, or read on the policy's word, and not begun: it never begins.
UPDATE cases SET cancel_by = %(actor)s, due_at = now(), woken = true
WHERE run = %(run)s AND is_open AND cancel_by IS NULL
  AND (kind = 'approved' OR (kind = 'vetted' AND body -> 'standing' <> 'null'))
  AND NOT EXISTS (SELECT FROM attempts WHERE attempts.run = %(run)s AND mode = 'run')
RETURNING id::text AS case_id;

-- name: accept
INSERT INTO revision_words (old, new, digest, person, via)
VALUES (%(old)s, %(new)s, %(digest)s, %(person)s, %(via)s)
ON CONFLICT DO NOTHING;

-- name: accepted_by
SELECT person FROM revision_words WHERE old = %(old)s AND new = %(new)s AND digest = %(digest)s ORDER BY at, person;

-- name: adopt
INSERT INTO adoptions (commit, old, digest, actor) VALUES (%(commit)s, %(old)s, %(digest)s, %(actor)s);
