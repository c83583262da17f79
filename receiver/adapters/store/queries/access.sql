-- name: tokens
-- The use is noted at most once a minute, so that a webhook does not write twice.
WITH found AS (
    SELECT name, scope, source, sha256, used_at FROM tokens
    WHERE sha256 = ANY (%(digests)s) AND revoked_at IS NULL
),
noted AS (
    UPDATE tokens SET used_at = now() FROM found
    WHERE tokens.name = found.name AND (found.used_at IS NULL OR found.used_at < now() - interval '1 minute')
)
SELECT name, scope, source, sha256 FROM found;

-- name: create_token
INSERT INTO tokens (name, scope, source, sha256, created_by)
VALUES (%(name)s, %(scope)s, %(source)s, %(sha256)s, %(created_by)s);

-- name: revoke_token
UPDATE tokens SET revoked_at = now() WHERE name = %(name)s AND revoked_at IS NULL RETURNING name;

-- name: list_tokens
SELECT name, scope, source, created_at, created_by, used_at, revoked_at FROM tokens ORDER BY created_at, name;

-- name: create_link
INSERT INTO setup_links (sha256, person) VALUES (%(sha256)s, %(person)s);

-- name: enter
-- Good once, for a day; the link is used and the session begun in one step, or neither.
WITH used AS (
    UPDATE setup_links SET used_at = now()
    WHERE sha256 = %(link)s AND used_at IS NULL AND created_at > now() - interval '1 day'
    RETURNING person
)
INSERT INTO sessions (sha256, person, expires_at)
SELECT %(session)s, person, now() + interval '14 days' FROM used
RETURNING person;

-- name: session
SELECT person FROM sessions WHERE sha256 = %(sha256)s AND expires_at > now();

-- name: end_session
DELETE FROM sessions WHERE sha256 = %(sha256)s OR expires_at < now();
