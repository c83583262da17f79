-- name: take
-- The same again is nothing. Whoever polls the forge hears of it at once; losing that word costs one poll.
WITH taken AS (
    INSERT INTO forge_deliveries (forge, repository, id, event, number, ref, after_sha, pusher)
    VALUES (%(forge)s, %(repository)s, %(id)s, %(event)s, %(number)s, %(ref)s, %(after_sha)s, %(pusher)s)
    ON CONFLICT DO NOTHING
    RETURNING repository, number
),
woken AS (
    UPDATE cases SET due_at = least(due_at, now()), woken = true FROM taken
    WHERE cases.proposal = taken.number AND is_open AND kind = 'proposed'
      AND (cases.repository = taken.repository OR (cases.repository IS NULL AND strpos(taken.repository, '/') = 0))
)
SELECT pg_notify('gitmedic_forge', repository) FROM taken;

-- name: since
SELECT forge, repository, id, event, number, ref, after_sha, pusher FROM forge_deliveries
WHERE forge = %(forge)s AND repository = %(repository)s AND received_at > %(moment)s
ORDER BY received_at, id LIMIT 500;

-- name: sweep
DELETE FROM forge_deliveries WHERE received_at < now() - interval '90 days';
