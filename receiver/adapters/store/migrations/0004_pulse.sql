-- Whoever shows a case live is told when something was added to it: one notification per statement, not per row.
-- The payload is the case's id, or nothing when the statement was about several: then everybody looks again.
-- Losing one is harmless: watchers look again by themselves now and then.

CREATE FUNCTION tell_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gitmedic_cases', CASE WHEN min(case_id::text) = max(case_id::text) THEN min(case_id::text) ELSE '' END)
    FROM fresh HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER case_events_tell AFTER INSERT ON case_events
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tell_case();

CREATE FUNCTION tell_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gitmedic_cases', told.case_id::text) FROM (
        SELECT DISTINCT attempts.case_id FROM fresh JOIN attempts ON attempts.id = fresh.attempt_id
    ) AS told;
    RETURN NULL;
END $$;
CREATE TRIGGER run_events_tell AFTER INSERT ON run_events
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tell_run();

-- questions of the pages
CREATE INDEX attempts_case ON attempts (case_id, begun_at);
CREATE INDEX cases_entity ON cases (entity, number DESC);
