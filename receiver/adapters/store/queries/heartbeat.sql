-- name: beat
INSERT INTO workers (name, roles, version, metrics) VALUES (%(name)s, %(roles)s, %(version)s, %(metrics)s)
ON CONFLICT (name) DO UPDATE SET metrics = excluded.metrics, alive_at = now();

-- name: forget_silent
DELETE FROM workers WHERE alive_at < now() - interval '1 day';

-- name: workers
SELECT name, roles, version, metrics, extract(epoch FROM now() - alive_at)::float AS silent_seconds
FROM workers ORDER BY name;

-- name: case_counts
SELECT kind, outcome, count(*) AS count FROM cases GROUP BY kind, outcome;

-- name: totals
SELECT (SELECT count(*) FROM proposal_slots WHERE freed_at IS NULL) AS slots,
       (SELECT count(*) FROM locks) AS locks;

-- name: ready
-- Ready means that an alert would be stored: a write, taken back.
INSERT INTO deliveries (source, body) VALUES ('readyz', '') RETURNING id;
