-- What is remembered: one row per closed case from structured fields only, and the notes of operators.
-- A memory outlives its case's row, so it refers to it by id without a constraint.

CREATE TABLE memory (
    id          uuid PRIMARY KEY,  -- of a case: the case's own
    number      bigint GENERATED ALWAYS AS IDENTITY,
    kind        text NOT NULL CHECK (kind IN ('case', 'note')),
    at          timestamptz NOT NULL DEFAULT now(),
    text        text NOT NULL,
    alertname   text NOT NULL DEFAULT '',
    entity_kind text NOT NULL DEFAULT '',
    entity      text NOT NULL DEFAULT '',
    site        text NOT NULL DEFAULT '',
    playbook    text,
    outcome     text,
    verdict     text,
    seconds     double precision,
    params      text[] NOT NULL DEFAULT '{}',
    author      text NOT NULL DEFAULT '',
    tags        text[] NOT NULL DEFAULT '{}',
    -- only what may be recalled has words: verified cases and notes
    words       tsvector,
    -- model and dimensions of its embedding; empty: none yet
    embedded_by text NOT NULL DEFAULT '',
    CHECK ((kind = 'case') = (outcome IS NOT NULL))
);
-- no list of pending entries: a search would read all of it
CREATE INDEX memory_words ON memory USING gin (words) WITH (fastupdate = off);
CREATE INDEX memory_recent ON memory (at DESC) WHERE words IS NOT NULL;
CREATE INDEX memory_near ON memory (alertname, at DESC) WHERE words IS NOT NULL;
CREATE INDEX memory_failed ON memory (alertname, at DESC) WHERE outcome = 'not_fixed';
CREATE INDEX memory_alertname ON memory (alertname, number DESC);
CREATE INDEX memory_number ON memory (number DESC);
CREATE INDEX memory_embedded ON memory (embedded_by) WHERE words IS NOT NULL;

-- Who took what out of the memory. Its words are gone with it.
CREATE TABLE memory_forgotten (
    id        uuid PRIMARY KEY,
    kind      text NOT NULL,
    alertname text NOT NULL,
    author    text NOT NULL,
    by        text NOT NULL,
    reason    text NOT NULL DEFAULT '',
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX memory_forgotten_alertname ON memory_forgotten (alertname, at DESC);
CREATE TRIGGER memory_forgotten_append_only BEFORE UPDATE OR DELETE ON memory_forgotten
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Vectors need pgvector, which a server may lack: text recall works without. Gives '' when they can be kept, else
-- why not; asked again whenever an embedder is set, so that pgvector may come later.
CREATE FUNCTION memory_vectors() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('memory_embedding') IS NOT NULL THEN
        RETURN '';
    END IF;
    BEGIN
        CREATE EXTENSION IF NOT EXISTS vector;
    EXCEPTION WHEN OTHERS THEN
        RETURN SQLERRM;
    END;
    IF to_regtype('halfvec') IS NULL THEN
        RETURN 'pgvector is older than 0.7';
    END IF;
    CREATE TABLE memory_embedding (
        memory_id uuid PRIMARY KEY REFERENCES memory (id) ON DELETE CASCADE,
        model     text NOT NULL,
        dims      integer NOT NULL,
        embedding halfvec NOT NULL
    );
    RETURN '';
END $$;
SELECT memory_vectors();
