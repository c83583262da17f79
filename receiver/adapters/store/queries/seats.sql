-- name: holder
SELECT seen.* FROM workers_seen AS seen, (SELECT FROM workers WHERE name = %(name)s FOR UPDATE) AS row
WHERE seen.name = %(name)s;

-- name: lock
-- Two that begin at once are asked one after the other.
SELECT pg_advisory_xact_lock(hashtext('gitmedic.seat'), hashtext(%(name)s));

-- name: take
-- The higher fence is what takes the name away from whoever had it.
INSERT INTO workers (name, roles, sites, version, fence, instance, host, machine, pid, begun)
VALUES (%(name)s, %(roles)s, %(sites)s, %(version)s, nextval('worker_fences'), %(instance)s, %(host)s, %(machine)s,
        %(pid)s, %(begun)s)
ON CONFLICT (name) DO UPDATE SET
    roles = excluded.roles, sites = excluded.sites, version = excluded.version, fence = excluded.fence,
    instance = excluded.instance, host = excluded.host, machine = excluded.machine, pid = excluded.pid,
    begun = excluded.begun, metrics = '{}', began_at = now(), alive_at = now(), ended_at = NULL
RETURNING fence;

-- name: revoke
-- What the process before had in hand is free at once, and nothing that it still says about it is heard.
UPDATE cases SET fence = fence + 1, lease_until = now() - interval '1 millisecond'
WHERE worker = %(name)s AND lease_until IS NOT NULL;

-- name: beat
UPDATE workers SET metrics = %(metrics)s, alive_at = now()
WHERE name = %(name)s AND fence = %(fence)s AND ended_at IS NULL
RETURNING (SELECT max(schema_migrations.name) FROM schema_migrations) AS schema;

-- name: leave
UPDATE workers SET ended_at = now() WHERE name = %(name)s AND fence = %(fence)s AND ended_at IS NULL;

-- name: found
SELECT name, roles, sites, version, host, pid, ended_at, silent_seconds, lives FROM workers_seen WHERE name = %(name)s;
