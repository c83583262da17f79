-- name: since
SELECT since FROM forge_polls WHERE repository = %(repository)s;

-- name: polled
INSERT INTO forge_polls (repository, since) VALUES (%(repository)s, %(at)s)
ON CONFLICT (repository) DO UPDATE SET since = greatest(forge_polls.since, excluded.since);

-- name: seen
SELECT FROM forge_given WHERE repository = %(repository)s AND number = %(number)s AND head_sha = %(head_sha)s;

-- name: keep
INSERT INTO forge_given (repository, number, head_sha, case_id, why)
VALUES (%(repository)s, %(number)s, %(head_sha)s, %(case)s, %(why)s)
ON CONFLICT DO NOTHING;

-- name: is_known
SELECT FROM cases WHERE id = %(case)s OR run = %(run)s
UNION ALL SELECT FROM attempts WHERE run = %(run)s
LIMIT 1;
