-- name: lock
-- One decision about a pull request at a time, also between processes; freed by the server when we die.
SELECT pg_advisory_lock(hashtext('gitmedic.forge'), %(number)s);

-- name: unlock
SELECT pg_advisory_unlock(hashtext('gitmedic.forge'), %(number)s);

-- name: read
SELECT * FROM pull_requests WHERE number = %(number)s AND repository = %(repository)s;

-- name: find
SELECT * FROM pull_requests WHERE branch = %(branch)s AND repository = %(repository)s;

-- name: reviews
SELECT person, via, head_sha, verdict, signature, at FROM reviews WHERE number = %(number)s ORDER BY id;

-- name: open
INSERT INTO pull_requests (repository, run_id, branch, title, body, base_ref, head_sha, author, labels)
VALUES (%(repository)s, %(run_id)s, %(branch)s, %(title)s, %(body)s, %(base_ref)s, %(head_sha)s, %(author)s, %(labels)s)
ON CONFLICT DO NOTHING;

-- name: review
INSERT INTO reviews (number, person, via, head_sha, verdict, signature)
VALUES (%(number)s, %(person)s, %(via)s, %(head_sha)s, %(verdict)s, %(signature)s);

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
UPDATE pull_requests SET comment = %(text)s WHERE number = %(number)s AND repository = %(repository)s;

-- name: mark
UPDATE pull_requests SET labels = %(labels)s, status = %(status)s
WHERE number = %(number)s AND repository = %(repository)s;

-- name: changed
SELECT number FROM pull_requests
WHERE repository = %(repository)s AND CASE WHEN %(since)s::timestamptz IS NULL THEN state = 'open'
           ELSE greatest(created_at, merged_at, closed_at) > %(since)s END
ORDER BY number DESC LIMIT 500;

-- name: behind
SELECT number FROM pull_requests WHERE merge_sha = %(commit)s AND repository = %(repository)s;

-- name: forge_comment
SELECT comment_id, sha256, marks FROM forge_comments WHERE repository = %(repository)s AND number = %(number)s;

-- name: keep_comment
INSERT INTO forge_comments (repository, number, comment_id, sha256)
VALUES (%(repository)s, %(number)s, %(comment_id)s, %(sha256)s)
ON CONFLICT (repository, number) DO UPDATE SET comment_id = excluded.comment_id, sha256 = excluded.sha256;

-- name: keep_marks
INSERT INTO forge_comments (repository, number, marks) VALUES (%(repository)s, %(number)s, %(marks)s)
ON CONFLICT (repository, number) DO UPDATE SET marks = excluded.marks;

-- name: desk_review
INSERT INTO desk_reviews (repository, number, person, via, head_sha, verdict, signature)
VALUES (%(repository)s, %(number)s, %(person)s, %(via)s, %(head_sha)s, %(verdict)s, %(signature)s);

-- name: desk_reviews
SELECT person, via, head_sha, verdict, signature, at FROM desk_reviews
WHERE repository = %(repository)s AND number = %(number)s ORDER BY id;

-- name: pusher
-- To that very branch: a fast-forward brings the same commit to the base, by whoever merged it.
SELECT pusher FROM forge_deliveries
WHERE forge = %(forge)s AND repository = %(repository)s AND after_sha = %(sha)s AND ref = %(ref)s
      AND pusher IS NOT NULL
ORDER BY received_at DESC LIMIT 1;
