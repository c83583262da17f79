-- Where runs happen and who lives there: names that one process holds at a time, sites without an executor, and
-- since when each data directory has lived without a silence.

ALTER TABLE workers
    -- what it serves; an executor without any serves every site that no other living one names
    ADD COLUMN sites    text[] NOT NULL DEFAULT '{}',
    -- raised each time another process takes the name: what carries an older number writes nothing
    ADD COLUMN fence    bigint NOT NULL DEFAULT 0,
    ADD COLUMN instance text NOT NULL DEFAULT '',
    ADD COLUMN host     text NOT NULL DEFAULT '',
    ADD COLUMN machine  text NOT NULL DEFAULT '',  -- boot of the machine and its space of process numbers
    ADD COLUMN pid      integer NOT NULL DEFAULT 0,
    ADD COLUMN begun    text NOT NULL DEFAULT '',  -- when that process began, by its machine
    ADD COLUMN began_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN ended_at timestamptz;               -- it said goodbye
CREATE SEQUENCE worker_fences;
-- The version before knew nothing of who has a name: what it left holds up nobody who comes after it.
UPDATE workers SET ended_at = alive_at;

-- The one place that says which worker lives: it said something lately, and no goodbye.
CREATE VIEW workers_seen AS
SELECT *, extract(epoch FROM now() - alive_at)::float AS silent_seconds,
       ended_at IS NULL AND alive_at > now() - interval '45 seconds' AS lives
FROM workers;

-- Every site that has hosts or waiting cases, and since when nobody serves it.
CREATE TABLE sites (
    name           text PRIMARY KEY,
    unserved_since timestamptz,
    told_at        timestamptz
);

-- One row per data directory that uses this database (rule S2); `installation` keeps what belongs to all of them.
CREATE TABLE instances (
    id       text PRIMARY KEY,
    since    timestamptz NOT NULL DEFAULT now(),
    alive_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO instances (id, since, alive_at) SELECT id, since, alive_at FROM installation;

-- The one place that says whether an instance goes on or begins a new life, and after how long a silence: nobody
-- writes `since` by hand, or says for himself what a silence is.
CREATE FUNCTION instance_appears(known text) RETURNS void
LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO instances AS old (id) VALUES (known)
    ON CONFLICT (id) DO UPDATE SET
        since = CASE WHEN old.alive_at < now() - interval '15 minutes' THEN now() ELSE old.since END,
        alive_at = now();
    INSERT INTO installation (id) VALUES (known) ON CONFLICT (only_one) DO UPDATE SET alive_at = now();
$$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION instance_appears SET search_path = %I, pg_temp', current_schema());
END $$;
