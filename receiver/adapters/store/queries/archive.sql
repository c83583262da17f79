-- name: cases
-- Newest first, by number; every filter is optional.
SELECT id::text AS id, number, kind AS state, outcome, why, waiting, alertname, entity, playbook, source, severity,
       opened_at, updated_at, closed_at, proposal
FROM cases
WHERE (%(before)s::bigint IS NULL OR number < %(before)s)
  AND (%(state)s::text IS NULL OR kind = %(state)s)
  AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
  AND (%(alertname)s::text IS NULL OR alertname = %(alertname)s)
  AND (%(entity)s::text IS NULL OR entity = %(entity)s)
  AND (%(playbook)s::text IS NULL OR playbook = %(playbook)s)
  AND (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(needs)s::text IS NULL OR (is_open AND kind = 'proposed')
       OR (outcome = 'interrupted' AND NOT is_open
           AND NOT EXISTS (SELECT FROM resolutions WHERE case_id = cases.id AND settles)))
ORDER BY number DESC LIMIT %(limit)s;

-- name: case
SELECT id::text AS id, number, kind, body, waiting, due_at, worker, opened_at, updated_at, closed_at, outcome, why,
       (SELECT jsonb_agg(jsonb_build_object('act', act, 'actor', actor, 'reason', reason, 'at', asked_at,
                                            'verdict', verdict, 'why', resolutions.why, 'opened', opened,
                                            'settles', settles) ORDER BY resolutions.id)
        FROM resolutions WHERE case_id = cases.id) AS resolutions
FROM cases WHERE id = %(id)s;

-- name: events
SELECT seq, at, kind, actor, text, data FROM case_events WHERE case_id = %(id)s AND seq > %(after)s
ORDER BY seq LIMIT 1000;

-- name: attempts
SELECT id::text AS id, run::text AS run, case_id::text AS case_id, mode, begun_at, ended_at, status, result,
       cancel_by, alive_at > now() - interval '30 seconds' AS is_alive
FROM attempts WHERE case_id = %(id)s ORDER BY begun_at;

-- name: run
SELECT id::text AS id, run::text AS run, case_id::text AS case_id, mode, begun_at, ended_at, status, result,
       cancel_by, alive_at > now() - interval '30 seconds' AS is_alive
FROM attempts WHERE run = %(id)s ORDER BY begun_at;

-- name: run_log
-- Of one attempt of this run: the one that is asked for, else the latest.
SELECT attempt_id::text AS attempt, seq, at, kind, host, task, text, diff FROM run_events
WHERE attempt_id = (SELECT id FROM attempts
                    WHERE run = %(id)s AND (%(attempt)s::uuid IS NULL OR id = %(attempt)s)
                    ORDER BY begun_at DESC LIMIT 1)
  AND seq > %(after)s
  AND (%(host)s::text IS NULL OR host = %(host)s)
  AND (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s))
  AND (%(word)s::text IS NULL OR strpos(lower(task || ' ' || text || ' ' || diff), lower(%(word)s)) > 0)
ORDER BY seq LIMIT %(limit)s;

-- name: run_log_tail
SELECT * FROM (
    SELECT attempt_id::text AS attempt, seq, at, kind, host, task, text, diff FROM run_events
    WHERE attempt_id = (SELECT id FROM attempts
                        WHERE run = %(id)s AND (%(attempt)s::uuid IS NULL OR id = %(attempt)s)
                        ORDER BY begun_at DESC LIMIT 1)
      AND seq > %(after)s
      AND (%(host)s::text IS NULL OR host = %(host)s)
      AND (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s))
      AND (%(word)s::text IS NULL OR strpos(lower(task || ' ' || text || ' ' || diff), lower(%(word)s)) > 0)
    ORDER BY seq DESC LIMIT %(limit)s
) AS last ORDER BY seq;

-- name: run_case
SELECT id::text AS id, kind AS state, waiting, outcome, is_open FROM cases
WHERE run = %(id)s OR id IN (SELECT case_id FROM attempts WHERE run = %(id)s) LIMIT 1;

-- name: run_tally
SELECT host, kind, count(*) AS number FROM run_events
WHERE attempt_id = (SELECT id FROM attempts WHERE run = %(id)s ORDER BY begun_at DESC LIMIT 1) AND host <> ''
GROUP BY host, kind ORDER BY host, kind;

-- name: alerts
-- Each identity with its why: its own word, else its case's end, else where its case stands. Whoever asks for one why
-- is answered from the places it can stand in, each by an index: a rare one would else mean reading all alerts.
WITH asked AS NOT MATERIALIZED (
    SELECT id, why, case_id FROM alerts
    WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
      AND (%(source)s::text IS NULL OR source = %(source)s)
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
      AND (%(alertname)s::text IS NULL OR labels->>'alertname' = %(alertname)s)
),
of_why AS (
    (SELECT id FROM asked WHERE why = %(why)s ORDER BY id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT asked.id FROM asked JOIN cases ON cases.id = asked.case_id
     WHERE asked.why IS NULL AND cases.outcome = %(why)s ORDER BY asked.id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT asked.id FROM asked JOIN cases ON cases.id = asked.case_id
     WHERE %(why)s = 'open' AND asked.why IS NULL AND cases.is_open ORDER BY asked.id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT id FROM asked WHERE %(why)s = 'open' AND why IS NULL AND case_id IS NULL ORDER BY id DESC LIMIT %(limit)s)
)
SELECT alerts.id AS number, alerts.source, alerts.fingerprint, alerts.starts_at, alerts.status, alerts.labels,
       alerts.times_seen, alerts.received_at, alerts.last_seen_at, alerts.resolved_at, alerts.truncated,
       alerts.case_id::text AS "case",
       coalesce(alerts.why, cases.outcome, 'open') AS why,
       CASE WHEN alerts.why IS NOT NULL THEN '' WHEN alerts.case_id IS NULL THEN 'stored; waits for its case'
            WHEN cases.outcome IS NOT NULL THEN cases.why
            ELSE concat_ws(': ', cases.kind, nullif(cases.waiting, '')) END AS why_text
FROM alerts LEFT JOIN cases ON cases.id = alerts.case_id
WHERE (%(before)s::bigint IS NULL OR alerts.id < %(before)s)
  AND (%(source)s::text IS NULL OR alerts.source = %(source)s)
  AND (%(status)s::text IS NULL OR alerts.status = %(status)s)
  AND (%(fingerprint)s::text IS NULL OR alerts.fingerprint = %(fingerprint)s)
  AND (%(alertname)s::text IS NULL OR alerts.labels->>'alertname' = %(alertname)s)
  AND (%(why)s::text IS NULL OR alerts.id = ANY (ARRAY(SELECT id FROM of_why)))
ORDER BY alerts.id DESC LIMIT %(limit)s;

-- name: unreadable
-- In the shape of an alert that has no labels.
SELECT id AS number, source, '' AS fingerprint, NULL AS starts_at, '' AS status, '{}'::jsonb AS labels,
       1 AS times_seen, received_at, received_at AS last_seen_at, NULL AS resolved_at, false AS truncated,
       NULL AS "case", 'unreadable' AS why, reason AS why_text, position, delivery_id
FROM unreadable
WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(source)s::text IS NULL OR source = %(source)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: case_of_proposal
-- One that does not say its repository is in the catalog's, whose name has no place in front.
SELECT id::text AS id FROM cases
WHERE proposal = %(number)s
  AND (repository = %(repository)s OR (repository IS NULL AND strpos(%(repository)s, '/') = 0))
ORDER BY is_open DESC, number DESC LIMIT 1;

-- name: entities
-- Things that had a case: the last one by a walk over the index, not over all cases.
WITH RECURSIVE names AS (
    (SELECT entity FROM cases WHERE entity IS NOT NULL ORDER BY entity LIMIT 1)
    UNION ALL
    SELECT (SELECT entity FROM cases WHERE cases.entity > names.entity ORDER BY entity LIMIT 1)
    FROM names WHERE names.entity IS NOT NULL
)
SELECT names.entity AS name, last.id::text AS "case", last.kind AS state, last.outcome, last.updated_at, facts.taken_at,
       (SELECT count(*) FROM cases WHERE cases.entity = names.entity AND is_open) AS open
FROM names
JOIN LATERAL (SELECT * FROM cases WHERE cases.entity = names.entity ORDER BY number DESC LIMIT 1) AS last ON true
LEFT JOIN LATERAL (
    SELECT body #>> '{facts,0,taken_at}' AS taken_at FROM cases
    WHERE cases.entity = names.entity AND body #>> '{facts,0,taken_at}' IS NOT NULL ORDER BY number DESC LIMIT 1
) AS facts ON true
WHERE names.entity IS NOT NULL ORDER BY names.entity;
