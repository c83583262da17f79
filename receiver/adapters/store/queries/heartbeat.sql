-- name: workers
-- Those that said goodbye are no matter after a day; silent ones are.
SELECT name, roles, sites, version, instance, host, pid, metrics, began_at, ended_at, silent_seconds, lives
FROM workers_seen WHERE ended_at IS NULL OR ended_at > now() - interval '1 day'
ORDER BY name;

-- name: sites
-- Who would take its runs now: those that name it, or, when none of them lives, those that name no site.
WITH executors AS (
    SELECT sites AS named FROM workers_seen WHERE lives AND 'execute' = ANY (string_to_array(roles, ' '))
)
SELECT sites.name, coalesce(extract(epoch FROM now() - unserved_since), 0)::float AS unserved_seconds,
       (SELECT coalesce(nullif(count(*) FILTER (WHERE sites.name = ANY (named)), 0),
                        count(*) FILTER (WHERE cardinality(named) = 0))
        FROM executors) AS executors
FROM sites ORDER BY sites.name;

-- name: case_counts
SELECT kind, outcome, count(*) AS count FROM cases GROUP BY kind, outcome;

-- name: schedules
SELECT name, extract(epoch FROM next_at)::float AS next,
       (SELECT extract(epoch FROM max(planned_at))::float FROM schedule_runs
        WHERE schedule_runs.name = schedules.name AND fate = 'ran') AS ran,
       (SELECT jsonb_object_agg(fate, count) FROM (
            SELECT fate, count(*) AS count FROM schedule_runs WHERE schedule_runs.name = schedules.name GROUP BY fate
        ) AS counted) AS fates
FROM schedules ORDER BY name;

-- name: totals
SELECT (SELECT count(*) FROM proposal_slots WHERE freed_at IS NULL) AS slots,
       (SELECT count(*) FROM locks) AS locks,
       (SELECT count(*) FROM unsettled_cases) AS unsettled;

-- name: ready
-- Ready means that an alert would be stored: a write, taken back.
INSERT INTO deliveries (source, body) VALUES ('readyz', '') RETURNING id;
