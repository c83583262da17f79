-- name: remember
-- Once per case, and never again what somebody took out. Words only for what may be recalled.
INSERT INTO memory (id, kind, text, alertname, entity_kind, entity, site, playbook, outcome, verdict, seconds, params, words)
SELECT %(id)s, 'case', %(text)s, %(alertname)s, %(entity_kind)s, %(entity)s, %(site)s, %(playbook)s, %(outcome)s,
       %(verdict)s, %(seconds)s, %(params)s,
       CASE WHEN %(is_recalled)s THEN setweight(to_tsvector('simple', %(head)s), 'A')
                                      || setweight(to_tsvector('english', %(body)s), 'B') END
WHERE NOT EXISTS (SELECT FROM memory_forgotten WHERE id = %(id)s)
ON CONFLICT (id) DO NOTHING;

-- name: note
INSERT INTO memory (id, kind, text, alertname, author, tags, words)
VALUES (%(id)s, 'note', %(text)s, %(alertname)s, %(author)s, %(tags)s,
        setweight(to_tsvector('simple', %(head)s), 'A') || setweight(to_tsvector('english', %(body)s), 'B'))
RETURNING id::text AS id, number, kind, at, text, alertname, author, tags;

-- name: terms
-- Each word as it is kept (as it stands, and its English stem) with how many rows have it, by the planner's own
-- statistics: counting would touch the rows. What they do not list is rarer than the rarest they do.
WITH asked AS (
    SELECT DISTINCT unnest(tsvector_to_array(to_tsvector('simple', %(words)s) || to_tsvector('english', %(words)s)))
        AS lexeme
), known AS (
    SELECT s.most_common_elems::text::text[] AS elems, s.most_common_elem_freqs AS freqs,
           greatest(c.reltuples, 0) * (1 - coalesce(s.null_frac, 0)) AS rows
    FROM pg_class c
    LEFT JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname
                        AND s.attname = 'words'
    WHERE c.oid = to_regclass('memory')
)
SELECT asked.lexeme, known.rows::float8 AS rows, array_position(known.elems, asked.lexeme) IS NOT NULL AS is_common,
       coalesce((known.freqs[array_position(known.elems, asked.lexeme)] * known.rows)::float8,
                (known.freqs[cardinality(known.elems) + 1] * known.rows / 2)::float8, 0) AS having_it
FROM asked, known ORDER BY having_it, lexeme;

-- name: near_text
-- Rows that have a rare word, and the newest rows that have any: each side is capped, so that the work is the same
-- however many rows there are. What counts is how rare a word is and whether the alert's name has it.
WITH wanted AS MATERIALIZED (
    SELECT array_to_string(%(rare)s::text[], ' | ')::tsquery AS rare,
           array_to_string(%(lexemes)s::text[], ' | ')::tsquery AS any
), few AS MATERIALIZED (
    SELECT id, kind, outcome, at, words FROM memory WHERE words @@ (SELECT rare FROM wanted) LIMIT %(few)s
), newest AS MATERIALIZED (
    SELECT id, kind, outcome, at, words FROM memory WHERE words IS NOT NULL ORDER BY at DESC LIMIT %(newest)s
), found AS (
    SELECT * FROM few
    UNION ALL
    SELECT * FROM newest WHERE words @@ (SELECT wanted.any FROM wanted)
)
SELECT found.id::text AS id, found.kind, found.outcome, scored.score
FROM found, LATERAL (
    SELECT sum(ts_rank(found.words, t.lexeme::tsquery) * t.weight) AS score
    FROM unnest(%(lexemes)s::text[], %(weights)s::float8[]) AS t(lexeme, weight)
) AS scored
ORDER BY scored.score DESC, found.at DESC LIMIT %(most)s;

-- name: near_name
-- Cases and notes of exactly this alert, newest first, and its last failure, however long ago.
(SELECT id::text AS id, kind, outcome, at FROM memory
 WHERE alertname = %(alertname)s AND words IS NOT NULL ORDER BY at DESC LIMIT %(most)s)
UNION ALL
(SELECT id::text, kind, outcome, at FROM memory
 WHERE alertname = %(alertname)s AND outcome = 'not_fixed' ORDER BY at DESC LIMIT 1)
ORDER BY at DESC;

-- name: some
SELECT id::text AS id, number, kind, at, text, alertname, entity, playbook, outcome, author, tags
FROM memory WHERE id = ANY(%(ids)s::uuid[]);

-- name: one
SELECT id::text AS id, number, kind, at, text, alertname, entity_kind, entity, site, playbook, outcome, verdict, seconds,
       params, author, tags, words IS NOT NULL AS is_recalled, embedded_by
FROM memory WHERE id = %(id)s;

-- name: page
SELECT id::text AS id, number, kind, at, text, alertname, entity, playbook, outcome, author, tags
FROM memory
WHERE (%(before)s::bigint IS NULL OR number < %(before)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(tag)s::text IS NULL OR tags @> ARRAY[%(tag)s::text])
ORDER BY number DESC LIMIT %(limit)s;

-- name: history
SELECT id::text AS id, number, kind, at, text, alertname, entity, playbook, outcome, verdict, seconds, author, tags
FROM memory WHERE alertname = %(alertname)s ORDER BY number DESC LIMIT %(limit)s;

-- name: tally
SELECT playbook, outcome, count(*) AS number, max(at) AS last
FROM memory WHERE alertname = %(alertname)s AND kind = 'case'
GROUP BY playbook, outcome ORDER BY number DESC, playbook, outcome;

-- name: forgotten
SELECT id::text AS id, kind, author, by, reason, at FROM memory_forgotten
WHERE alertname = %(alertname)s ORDER BY at DESC LIMIT %(limit)s;

-- name: forget
-- Gone, and that it is gone is kept.
WITH gone AS (
    DELETE FROM memory WHERE id = %(id)s
    RETURNING id, number, kind, at, text, alertname, entity, playbook, outcome, author, tags
), kept AS (
    INSERT INTO memory_forgotten (id, kind, alertname, author, by, reason)
    SELECT id, kind, alertname, author, %(by)s, %(reason)s FROM gone
)
SELECT id::text AS id, number, kind, at, text, alertname, entity, playbook, outcome, author, tags FROM gone;
