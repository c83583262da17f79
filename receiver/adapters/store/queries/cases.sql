-- name: claim
-- The case row is the queue. `revived` says that the lease before ran out without a word. What touches hosts is taken
-- by who serves their site: named, or, for an executor that names none, every site that no other living one names.
-- A worker whose name another process took over takes nothing.
WITH named AS (
    SELECT array_agg(site) AS sites FROM workers_seen, unnest(workers_seen.sites) AS site
    WHERE cardinality(%(sites)s::text[]) = 0 AND lives
),
next AS (
    SELECT id, lease_until IS NOT NULL AS revived FROM cases, named
    WHERE role = ANY (%(roles)s) AND due_at <= now()
      -- one that ran out while the server was away: whoever holds it has a lease's length to say so
      AND (lease_until IS NULL
           OR lease_until < now() AND pg_postmaster_start_time() < now() - make_interval(secs => %(seconds)s))
      AND (role <> 'execute' OR CASE WHEN cardinality(%(sites)s::text[]) = 0
                                     THEN NOT coalesce(site = ANY (named.sites), false)
                                     ELSE site = ANY (%(sites)s) END)
      AND (%(seat)s::bigint IS NULL
           OR EXISTS (SELECT FROM workers WHERE workers.name = %(worker)s AND workers.fence = %(seat)s))
    ORDER BY severity, due_at
    LIMIT 1
    FOR UPDATE OF cases SKIP LOCKED
)
UPDATE cases SET lease_until = now() + make_interval(secs => %(seconds)s), worker = %(worker)s,
                 fence = fence + 1, woken = false
FROM next WHERE cases.id = next.id
RETURNING cases.body, cases.fence, cases.lease_until, next.revived;

-- name: renew
UPDATE cases SET lease_until = now() + make_interval(secs => %(seconds)s)
WHERE id = %(id)s AND fence = %(fence)s AND lease_until IS NOT NULL
RETURNING lease_until;

-- name: holds
SELECT id FROM cases WHERE id = %(id)s AND fence = %(fence)s AND lease_until IS NOT NULL;

-- name: save
-- The next kind, its events and its due time in one statement; without the fence nothing happens.
WITH saved AS (
    UPDATE cases SET
        kind = %(kind)s, body = %(body)s, role = %(role)s, site = %(site)s,
        due_at = CASE WHEN %(is_open)s THEN now() END,
        lease_until = NULL, worker = NULL, waiting = '', waits = 0, kind_since = now(), updated_at = now(),
        entity = %(entity)s, playbook = %(playbook)s, run = %(run)s, proposal = %(proposal)s,
        repository = %(repository)s,
        outcome = %(outcome)s, why = %(why)s, reason = %(reason)s, is_open = %(is_open)s,
        closed_at = CASE WHEN %(is_open)s THEN NULL ELSE now() END,
        events = events + jsonb_array_length(%(events)s)
    WHERE id = %(id)s AND fence = %(fence)s
    RETURNING id, events - jsonb_array_length(%(events)s) AS before
)
INSERT INTO case_events (case_id, seq, kind, actor, text, data)
SELECT saved.id, saved.before + given.number, event->>'kind', event->>'actor', event->>'text', event->'data'
FROM saved, jsonb_array_elements(%(events)s) WITH ORDINALITY AS given (event, number)
RETURNING seq;

-- name: again
-- What was never decided on its merits is looked at afresh while it still fires.
UPDATE alerts SET case_id = NULL, why = NULL FROM cases
WHERE cases.id = %(id)s AND alerts.resolved_at IS NULL
  AND alerts.id = (SELECT max(a.id) FROM alerts a WHERE a.source = cases.source AND a.fingerprint = cases.fingerprint);

-- name: put_off
-- Waiting changes nothing but the due time; a new reason becomes an event, the same one again does not.
WITH before AS (
    SELECT id, waiting, woken FROM cases WHERE id = %(id)s AND fence = %(fence)s FOR UPDATE
),
waits AS (
    UPDATE cases SET
        due_at = CASE WHEN before.woken THEN now()
                      ELSE coalesce(%(at)s, now() + make_interval(secs => %(seconds)s)) END,
        lease_until = NULL, worker = NULL, waits = waits + 1, waiting = %(why)s, updated_at = now(),
        events = events + CASE WHEN before.waiting <> %(why)s THEN 1 ELSE 0 END
    FROM before WHERE cases.id = before.id
    RETURNING cases.id, cases.events, before.waiting <> %(why)s AS is_news
),
told AS (
    INSERT INTO case_events (case_id, seq, kind, actor, text)
    SELECT id, events, 'case.waiting', 'system', %(why)s FROM waits WHERE is_news
)
SELECT is_news FROM waits;
