-- What rights over tables and columns cannot say. Only the narrow roles are asked; whoever owns the tables is not.

CREATE OR REPLACE FUNCTION works_as(narrow text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT to_regrole(narrow) IS NOT NULL AND pg_has_role(current_user, to_regrole(narrow), 'USAGE')
       AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
$$;

CREATE OR REPLACE FUNCTION refuse_role(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'permission denied: % may not %', current_user, what USING ERRCODE = '42501';
END $$;

-- A case in the executor's hands goes one step on, and what was decided before stays as it was.
CREATE OR REPLACE FUNCTION guard_case() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF works_as('gitmedic_receiver') AND NEW.kind <> 'planned' THEN
            PERFORM refuse_role('begin a case as ' || NEW.kind);
        END IF;
        RETURN NEW;
    END IF;
    IF NOT works_as('gitmedic_executor') THEN
        RETURN NEW;
    END IF;
    IF to_jsonb(NEW) - ARRAY['events', 'updated_at'] = to_jsonb(OLD) - ARRAY['events', 'updated_at'] THEN
        RETURN NEW;  -- a line more on the timeline, as of a report that came late
    END IF;
    IF OLD.role <> 'execute' THEN
        PERFORM refuse_role('change a case that is not due for it');
    END IF;
    IF NEW.id <> OLD.id OR (NEW.run, NEW.proposal, NEW.source, NEW.fingerprint, NEW.entity, NEW.playbook)
       IS DISTINCT FROM (OLD.run, OLD.proposal, OLD.source, OLD.fingerprint, OLD.entity, OLD.playbook)
       OR NEW.fence NOT IN (OLD.fence, OLD.fence + 1) THEN
        PERFORM refuse_role('change what a case is about');
    END IF;
    IF (NEW.kind, NEW.body, NEW.role) IS NOT DISTINCT FROM (OLD.kind, OLD.body, OLD.role) THEN
        RETURN NEW;  -- it is claimed, held, put off or woken
    END IF;
    IF OLD.lease_until IS NULL OR NEW.fence <> OLD.fence THEN
        PERFORM refuse_role('save a case that it does not hold');
    END IF;
    IF (OLD.kind, NEW.kind) NOT IN (('vetted', 'rehearsed'), ('vetted', 'ended'), ('approved', 'executed'),
                                    ('approved', 'ended')) OR NEW.body->>'kind' <> NEW.kind THEN
        PERFORM refuse_role(format('make a case that was %s %s', OLD.kind, NEW.kind));
    END IF;
    FOR said IN SELECT jsonb_object_keys(OLD.body - ARRAY['kind', 'rehearsals']) LOOP
        IF (NEW.body->said) IS DISTINCT FROM (OLD.body->said) AND (NEW.body ? said OR NEW.kind <> 'ended') THEN
            PERFORM refuse_role(format('change %s of a case', said));
        END IF;
    END LOOP;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER cases_guard BEFORE INSERT OR UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION guard_case();

-- The timeline is the audit: the executor speaks for nobody.
CREATE OR REPLACE FUNCTION guard_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.actor <> 'system' AND works_as('gitmedic_executor') THEN
        PERFORM refuse_role('speak as ' || NEW.actor);
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER case_events_guard BEFORE INSERT ON case_events
    FOR EACH ROW EXECUTE FUNCTION guard_event();

-- Whoever asks for a clearance does not give it, and does not make an old one younger.
CREATE OR REPLACE FUNCTION guard_clearance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.body IS NOT NULL AND NEW.body IS DISTINCT FROM OLD.body)
       OR (NEW.answered_at IS NOT NULL AND NEW.answered_at IS DISTINCT FROM OLD.answered_at) THEN
        IF works_as('gitmedic_executor') THEN
            PERFORM refuse_role('answer a clearance');
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER clearances_guard BEFORE INSERT OR UPDATE ON clearances
    FOR EACH ROW EXECUTE FUNCTION guard_clearance();

-- What a person locked, a person unlocks; one with an end may be swept after it.
CREATE OR REPLACE FUNCTION guard_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.run IS NULL AND (OLD.until IS NULL OR OLD.until > now()) AND works_as('gitmedic_executor') THEN
        PERFORM refuse_role('take a lock from a person');
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE OR REPLACE TRIGGER locks_guard BEFORE UPDATE OR DELETE ON locks FOR EACH ROW EXECUTE FUNCTION guard_lock();

-- Its own signs of life, and nobody else's.
CREATE OR REPLACE FUNCTION guard_worker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF works_as('gitmedic_executor') AND (NEW.roles <> 'execute' OR (TG_OP = 'UPDATE' AND OLD.roles <> 'execute')) THEN
        PERFORM refuse_role('live as anything but an executor');
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER workers_guard BEFORE INSERT OR UPDATE ON workers
    FOR EACH ROW EXECUTE FUNCTION guard_worker();
