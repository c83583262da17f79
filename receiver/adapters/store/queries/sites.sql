-- name: look
-- Every site that has hosts, or cases that wait for an executor, and whether one lives that serves it.
WITH wanted AS (
    SELECT name FROM unnest(%(names)s::text[]) AS name
    UNION SELECT site FROM cases WHERE role = 'execute' AND due_at IS NOT NULL AND site <> ''
),
executors AS (
    SELECT sites, coalesce(ended_at, alive_at) AS last_at, lives FROM workers_seen WHERE 'execute' = ANY (string_to_array(roles, ' '))
),
found AS (
    SELECT wanted.name, bool_or(lives) IS TRUE AS is_served, max(last_at) AS last_at
    FROM wanted LEFT JOIN executors ON cardinality(sites) = 0 OR wanted.name = ANY (sites)
    GROUP BY wanted.name
)
INSERT INTO sites (name, unserved_since)
SELECT name, CASE WHEN NOT is_served THEN coalesce(last_at, now()) END FROM found ORDER BY name
ON CONFLICT (name) DO UPDATE SET
    unserved_since = CASE WHEN excluded.unserved_since IS NOT NULL
                          THEN coalesce(sites.unserved_since, excluded.unserved_since) END;

-- name: forget
DELETE FROM sites WHERE name <> ALL (%(names)s::text[])
  AND NOT EXISTS (SELECT FROM cases WHERE cases.site = sites.name AND role = 'execute' AND due_at IS NOT NULL);

-- name: forget_silent
DELETE FROM workers WHERE alive_at < now() - interval '7 days';

-- name: news
-- Outages that nobody was told of, and those that are over: each once, also with two planners.
UPDATE sites SET told_at = CASE WHEN unserved_since IS NOT NULL THEN now() END
FROM (SELECT name, coalesce(unserved_since, told_at) AS since FROM sites
      WHERE CASE WHEN unserved_since IS NULL THEN told_at IS NOT NULL
                 ELSE told_at IS NULL AND unserved_since <= now() - make_interval(secs => %(patience)s) END
      ORDER BY name FOR UPDATE) AS fresh
WHERE sites.name = fresh.name
RETURNING sites.name AS site, fresh.since, sites.told_at IS NULL AS is_over;

-- name: say
-- The waiting case says why it waits, as an event the first time.
WITH stuck AS (
    SELECT cases.id, format('no executor for site %%L since %%s UTC', sites.name,
                            to_char(sites.unserved_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')) AS why
    FROM cases JOIN sites ON sites.name = cases.site
    WHERE sites.told_at IS NOT NULL AND cases.role = 'execute' AND cases.due_at <= now()
      AND (cases.lease_until IS NULL OR cases.lease_until < now())
    ORDER BY cases.id FOR UPDATE OF cases SKIP LOCKED
),
said AS (
    UPDATE cases SET waiting = stuck.why, events = events + 1, updated_at = now()
    FROM stuck WHERE cases.id = stuck.id AND cases.waiting <> stuck.why
    RETURNING cases.id, cases.events, stuck.why
)
INSERT INTO case_events (case_id, seq, kind, actor, text)
SELECT id, events, 'case.waiting', 'system', why FROM said;

-- name: unsay
UPDATE cases SET waiting = '' WHERE role = 'execute' AND waiting LIKE 'no executor for site %%'
  AND NOT EXISTS (SELECT FROM sites WHERE sites.name = cases.site AND sites.told_at IS NOT NULL);

-- name: unserved
SELECT name AS site, unserved_since AS since, false AS is_over FROM sites WHERE told_at IS NOT NULL ORDER BY name;
