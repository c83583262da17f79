-- name: begin
-- One looks at a time; whose turn ran out without a word has died.
INSERT INTO forge_polls AS known (repository, looking_until)
VALUES (%(repository)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (repository) DO UPDATE SET looking_until = excluded.looking_until
    WHERE known.looking_until IS NULL OR known.looking_until < now()
RETURNING since, now() AS at;

-- name: done
UPDATE forge_polls SET since = greatest(since, %(at)s), looking_until = NULL WHERE repository = %(repository)s;

-- name: seen
SELECT true AS found FROM forge_given WHERE repository = %(repository)s AND number = %(number)s AND head_sha = %(head_sha)s;

-- name: keep
INSERT INTO forge_given (repository, number, head_sha, case_id, why)
VALUES (%(repository)s, %(number)s, %(head_sha)s, %(case)s, %(why)s)
ON CONFLICT DO NOTHING;

-- name: is_known
SELECT true AS found FROM cases WHERE id = %(case)s OR run = %(run)s
UNION ALL SELECT true AS found FROM attempts WHERE run = %(run)s
LIMIT 1;
