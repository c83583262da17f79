-- name: ready
SELECT CASE WHEN to_regclass('memory_embedding') IS NULL AND NOT has_schema_privilege(current_schema(), 'CREATE')
            THEN current_user || ' may make no table for them; as the owner of the database: gitmedic db-roles'
            ELSE memory_vectors() END AS why;

-- name: pending
-- Newest first would sort all of them; any order will do.
(SELECT id::text AS id, kind, text, alertname, playbook FROM memory
 WHERE words IS NOT NULL AND embedded_by < %(key)s LIMIT %(limit)s)
UNION ALL
(SELECT id::text, kind, text, alertname, playbook FROM memory
 WHERE words IS NOT NULL AND embedded_by > %(key)s LIMIT %(limit)s)
LIMIT %(limit)s;

-- name: keep
-- What was forgotten meanwhile is not kept; what another model made is replaced.
WITH kept AS (
    INSERT INTO memory_embedding (memory_id, model, dims, embedding)
    SELECT memory.id, %(model)s, %(dims)s, given.embedding::halfvec
    FROM unnest(%(ids)s::uuid[], %(vectors)s::text[]) AS given(id, embedding)
    JOIN (SELECT id FROM memory WHERE id = ANY(%(ids)s::uuid[]) FOR KEY SHARE) AS memory USING (id)
    ON CONFLICT (memory_id) DO UPDATE
        SET model = excluded.model, dims = excluded.dims, embedding = excluded.embedding
    RETURNING memory_id
)
UPDATE memory SET embedded_by = %(key)s FROM kept WHERE memory.id = kept.memory_id;

-- name: near
-- Model and dimensions are written out, so that the model's own partial index serves.
SELECT near.id::text AS id, memory.kind, memory.outcome
FROM (
    SELECT memory_id AS id, embedding::halfvec({dims}) <=> %(vector)s::halfvec({dims}) AS distance
    FROM memory_embedding WHERE model = {model} AND dims = {dims}
    ORDER BY embedding::halfvec({dims}) <=> %(vector)s::halfvec({dims}) LIMIT %(most)s
) AS near JOIN memory USING (id)
WHERE near.distance <= %(distance)s ORDER BY near.distance;

-- name: count
SELECT count(*) AS number FROM (
    SELECT FROM memory_embedding WHERE model = %(model)s AND dims = %(dims)s LIMIT %(limit)s
) AS counted;

-- name: indexes
SELECT c.relname::text AS name, i.indisvalid AS is_valid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass('memory_embedding') AND c.relname LIKE 'memory\_vectors\_%%';

-- name: owned
-- Only who owns the table may index it.
SELECT pg_has_role(relowner, 'USAGE') AS is_ours FROM pg_class WHERE oid = to_regclass('memory_embedding');

-- name: only_one
SELECT pg_try_advisory_lock(hashtext('gitmedic.vectors')) AS is_ours;

-- name: done
SELECT pg_advisory_unlock(hashtext('gitmedic.vectors'));

-- name: room
-- The graph is built in memory where it fits: many times faster than beside it.
SET maintenance_work_mem = '512MB';

-- name: usual_room
RESET maintenance_work_mem;

-- name: make_index
CREATE INDEX CONCURRENTLY {name} ON memory_embedding USING hnsw ((embedding::halfvec({dims})) halfvec_cosine_ops)
WHERE model = {model} AND dims = {dims};

-- name: drop_index
DROP INDEX CONCURRENTLY IF EXISTS {name};
