-- name: lock
-- One decision about a pull request at a time, also between processes; freed by the server when we die.
SELECT pg_advisory_lock(hashtext('gitmedic.forge'), %(number)s);

-- name: unlock
SELECT pg_advisory_unlock(hashtext('gitmedic.forge'), %(number)s);

-- name: read
SELECT * FROM pull_requests WHERE number = %(number)s;

-- name: find
SELECT * FROM pull_requests WHERE branch = %(branch)s;

-- name: reviews
SELECT person, via, head_sha, verdict, at FROM reviews WHERE number = %(number)s ORDER BY id;

-- name: open
INSERT INTO pull_requests (run_id, branch, title, body, base_ref, head_sha, author)
VALUES (%(run_id)s, %(branch)s, %(title)s, %(body)s, %(base_ref)s, %(head_sha)s, %(author)s)
ON CONFLICT DO NOTHING;

-- name: review
INSERT INTO reviews (number, person, via, head_sha, verdict)
VALUES (%(number)s, %(person)s, %(via)s, %(head_sha)s, %(verdict)s);

-- name: intend
UPDATE pull_requests
SET intended_merge_sha = %(merge_sha)s, intended_head_sha = %(head_sha)s, intended_by = %(person)s,
    intended_at = now()
WHERE number = %(number)s AND state = 'open';

-- name: complete
-- Whoever sees that the intended merge is on the base branch completes the row; twice is harmless.
UPDATE pull_requests
SET state = 'merged', merge_sha = intended_merge_sha, merged_head_sha = intended_head_sha,
    merged_by = intended_by, merged_at = intended_at
WHERE number = %(number)s AND state = 'open' AND intended_merge_sha = %(merge_sha)s;

-- name: close
UPDATE pull_requests
SET state = 'closed', closed_by = %(closed_by)s, closed_why = %(closed_why)s, closed_at = now()
WHERE number = %(number)s AND state = 'open';

-- name: comment
UPDATE pull_requests SET comment = %(text)s WHERE number = %(number)s;
