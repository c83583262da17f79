-- name: keep
-- What is no longer in the policy is forgotten: put back later, it begins anew and makes up for nothing.
WITH old AS (DELETE FROM schedule_runs WHERE filed_at < now() - interval '400 days')
DELETE FROM schedules WHERE NOT name = ANY (%(names)s);

-- name: since
-- Each look asks this, so that it writes nothing where nothing changed.
SELECT since FROM schedules WHERE name = %(name)s AND rule = %(rule)s AND since <= now() + interval '1 minute';

-- name: begin
-- A new rule begins now. A mark that lies ahead was left by a clock that had jumped: what it filed ahead is void.
WITH ahead AS (
    DELETE FROM schedule_runs WHERE name = %(name)s AND planned_at > now() + interval '1 minute'
      AND EXISTS (SELECT FROM schedules WHERE name = %(name)s AND since > now() + interval '1 minute')
)
INSERT INTO schedules AS known (name, rule) VALUES (%(name)s, %(rule)s)
ON CONFLICT (name) DO UPDATE SET
    since = CASE WHEN known.rule <> excluded.rule OR known.since > now() + interval '1 minute'
                 THEN now() ELSE known.since END,
    rule = excluded.rule
RETURNING since;

-- name: passed
UPDATE schedules SET since = greatest(since, %(upto)s), next_at = %(next_at)s
WHERE name = %(name)s AND (since < %(upto)s OR next_at IS DISTINCT FROM %(next_at)s);

-- name: alone
-- Whoever files cases of this schedule does it alone until its commit.
SELECT pg_advisory_xact_lock(hashtext('gitmedic.schedule.' || %(schedule)s));

-- name: open_case
SELECT cases.id::text AS id FROM cases
WHERE is_open AND id IN (
    SELECT unnest(last.cases)
    FROM (SELECT cases FROM schedule_runs WHERE name = %(schedule)s AND fate = 'ran' AND planned_at <> %(planned_at)s
          ORDER BY planned_at DESC LIMIT 20) AS last)
ORDER BY number LIMIT 1;

-- name: file
INSERT INTO schedule_runs (name, planned_at, due_at, fate, why, by, commit, cases)
VALUES (%(schedule)s, %(planned_at)s, %(due_at)s, %(fate)s, %(why)s, %(by)s, %(commit)s, %(cases)s::uuid[])
ON CONFLICT (name, planned_at) DO NOTHING
RETURNING number;

-- name: marks
SELECT schedules.name, since, next_at, last.planned_at AS last_at, last.fate AS last_fate, last.why AS last_why,
       (SELECT max(planned_at) FROM schedule_runs WHERE name = schedules.name AND fate = 'ran') AS ran_at
FROM schedules
LEFT JOIN LATERAL (
    SELECT * FROM schedule_runs WHERE name = schedules.name ORDER BY planned_at DESC LIMIT 1
) AS last ON true
ORDER BY schedules.name;

-- name: moments
SELECT number, name AS schedule, planned_at, due_at, filed_at, fate, why, by, commit,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'state', c.kind, 'outcome', c.outcome,
                                                     'entity', c.entity, 'run', c.run) ORDER BY c.number), '[]')
        FROM cases c WHERE c.id = ANY (schedule_runs.cases)) AS cases
FROM schedule_runs
WHERE (%(name)s::text IS NULL OR name = %(name)s) AND (%(before)s::bigint IS NULL OR number < %(before)s)
ORDER BY number DESC LIMIT %(limit)s;
