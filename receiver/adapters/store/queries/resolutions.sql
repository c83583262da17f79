-- name: say
-- One word and its line on the timeline; nothing when the case is settled.
WITH said AS (
    INSERT INTO resolutions (case_id, act, actor, reason, opened, settles, answered_at)
    SELECT cases.id, %(act)s, %(actor)s, %(reason)s, %(opened)s::uuid, %(settles)s,
           CASE WHEN %(act)s <> 'verify' THEN now() END
    FROM unsettled_cases AS cases WHERE cases.id = %(case)s
    ON CONFLICT DO NOTHING
    RETURNING case_id
),
noted AS (
    UPDATE cases SET events = events + 1, updated_at = now() FROM said WHERE cases.id = said.case_id
    RETURNING cases.id, events
)
INSERT INTO case_events (case_id, seq, kind, actor, text, data)
SELECT id, events, 'resolution.' || %(act)s, %(actor)s,
       CASE %(act)s WHEN 'verify' THEN 'asked how things are now'
                    WHEN 'propose' THEN 'proposed again as case ' || %(opened)s ELSE %(reason)s END,
       jsonb_build_object('reason', %(reason)s::text)
FROM noted RETURNING seq;

-- name: of
SELECT act, actor, reason, asked_at AS at, verdict, why, opened::text AS opened, settles FROM resolutions
WHERE case_id = %(case)s ORDER BY id;

-- name: asked
SELECT DISTINCT case_id::text AS case_id FROM resolutions WHERE answered_at IS NULL;

-- name: answer
WITH answered AS (
    UPDATE resolutions SET answered_at = now(), verdict = %(verdict)s, why = %(why)s
    WHERE case_id = %(case)s AND answered_at IS NULL
    RETURNING id, case_id
),
settled AS (
    -- a row of its own, so that of several who asked at once one settles
    INSERT INTO resolutions (case_id, act, actor, verdict, why, settles, answered_at)
    SELECT DISTINCT case_id, 'verify', 'system', %(verdict)s, %(why)s, true, now() FROM answered
    WHERE %(settles)s ON CONFLICT DO NOTHING
),
noted AS (
    UPDATE cases SET body = jsonb_set(body, '{verification}', %(body)s), events = events + 1, updated_at = now()
    WHERE id = (SELECT case_id FROM answered LIMIT 1)
    RETURNING id, events
)
INSERT INTO case_events (case_id, seq, kind, actor, text)
SELECT id, events, 'resolution.verified', 'system', %(verdict)s || ': ' || %(why)s FROM noted;

-- name: waiting
SELECT count(*) AS count FROM unsettled_cases;
