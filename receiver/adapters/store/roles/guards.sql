-- What rights over tables and columns cannot say. Only the narrow roles are asked; whoever owns the tables is not.
-- Each function looks up names in the catalog first and in nobody's temporary schema before it: a view of that name
-- would answer in its place.

CREATE OR REPLACE FUNCTION public.works_as(narrow text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_regrole(narrow) IS NOT NULL AND pg_has_role(current_user, to_regrole(narrow), 'USAGE')
       AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
$$;

CREATE OR REPLACE FUNCTION public.refuse_role(what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'permission denied: % may not %', current_user, what USING ERRCODE = '42501';
END $$;

-- The names of what differs between two rows, columns of later versions too.
CREATE OR REPLACE FUNCTION public.changed_in(old jsonb, new jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(name), '{}') FROM jsonb_object_keys(old || new) AS name
    WHERE old -> name IS DISTINCT FROM new -> name
$$;

CREATE OR REPLACE FUNCTION public.is_nothing(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT value IN ('null', '[]', '""', '{}')
$$;

-- From which kind to which, what of the body may be added or changed then, and how it may end.
CREATE OR REPLACE FUNCTION public.guard_step(was text, becomes text, old jsonb, new jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step    constant text := was || ' ' || becomes;
    of_run  constant text[] := ARRAY['kind', 'rehearsals', 'result', 'baseline', 'before'];
    of_end  constant text[] := ARRAY['outcome', 'why', 'reason'];
    -- nothing that says how a change came out: that is found by who proves it
    ends    constant text[] := ARRAY['failed', 'cancelled', 'interrupted', 'expired', 'superseded', 'refused'];
    allowed constant text[] := CASE step
        WHEN 'vetted rehearsed' THEN ARRAY['kind', 'rehearsals']
        WHEN 'vetted ended' THEN of_run || of_end || ARRAY['asked']
        WHEN 'approved executed' THEN of_run
        WHEN 'approved ended' THEN of_run || of_end
    END;
    said    text;
BEGIN
    IF allowed IS NULL THEN
        PERFORM public.refuse_role(format('make a case that was %s %s', was, becomes));
    END IF;
    FOREACH said IN ARRAY public.changed_in(old, new) LOOP
        CONTINUE WHEN said = ANY (allowed);
        CONTINUE WHEN NOT old ? said AND public.is_nothing(new -> said);
        CONTINUE WHEN becomes = 'ended' AND said = 'site' AND NOT new ? said;  -- an end is at no site
        PERFORM public.refuse_role(format('change %s of a case', said));
    END LOOP;
    IF becomes = 'ended' AND (new->>'outcome') <> ALL (ends || CASE was
        WHEN 'vetted' THEN ARRAY['rehearsal_failed', 'diagnosed'] ELSE ARRAY['self_resolved'] END) THEN
        PERFORM public.refuse_role(format('end a case as %s', new->>'outcome'));
    END IF;
END $$;

-- A case in the executor's hands goes one step on. Only what is named here may change, and of what is known of the
-- case only what a run adds; what was decided before stays as it was.
CREATE OR REPLACE FUNCTION public.guard_case() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told   constant text[] := ARRAY['events', 'updated_at'];
    held   constant text[] := told || ARRAY['lease_until', 'worker', 'fence', 'due_at', 'woken', 'waiting', 'waits'];
    saved  constant text[] := held || ARRAY['kind', 'body', 'role', 'kind_since', 'outcome', 'why', 'reason'];
    change text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF public.works_as('gitmedic_receiver')
           AND (NEW.kind, NEW.role, NEW.body->>'kind') IS DISTINCT FROM ('planned', 'plan', 'planned') THEN
            PERFORM public.refuse_role(format('begin a case as %s for role %s', NEW.kind, NEW.role));
        END IF;
        RETURN NEW;
    END IF;
    IF NOT public.works_as('gitmedic_executor') THEN
        RETURN NEW;
    END IF;
    change := public.changed_in(to_jsonb(OLD), to_jsonb(NEW));
    IF change <@ told THEN
        RETURN NEW;  -- a line more on the timeline, as of a report that came late
    END IF;
    IF OLD.role <> 'execute' THEN
        PERFORM public.refuse_role('change a case that is not due for it');
    END IF;
    IF NEW.fence NOT IN (OLD.fence, OLD.fence + 1) THEN
        PERFORM public.refuse_role(format('change the fence of a case from %s to %s', OLD.fence, NEW.fence));
    END IF;
    IF change <@ held THEN
        RETURN NEW;  -- it is claimed, held, put off or woken
    END IF;
    IF NOT change <@ saved THEN
        PERFORM public.refuse_role(format('change %s of a case', change));
    END IF;
    IF OLD.lease_until IS NULL OR NEW.fence <> OLD.fence THEN
        PERFORM public.refuse_role('save a case that it does not hold');
    END IF;
    PERFORM public.guard_step(OLD.kind, NEW.kind, OLD.body, NEW.body);
    -- the columns say what the body says
    IF (NEW.kind, NEW.role, NEW.outcome, NEW.reason, NEW.why) IS DISTINCT FROM
       (NEW.body->>'kind', 'plan', NEW.body->>'outcome', NEW.body->>'reason', coalesce(NEW.body->>'why', '')) THEN
        PERFORM public.refuse_role('say of a case what its body does not say');
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER cases_guard BEFORE INSERT OR UPDATE ON cases
    FOR EACH ROW EXECUTE FUNCTION public.guard_case();

-- The timeline is the audit: the executor speaks for nobody.
CREATE OR REPLACE FUNCTION public.guard_event() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.actor <> 'system' AND public.works_as('gitmedic_executor') THEN
        PERFORM public.refuse_role('speak as ' || NEW.actor);
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER case_events_guard BEFORE INSERT ON case_events
    FOR EACH ROW EXECUTE FUNCTION public.guard_event();

-- Whoever asks for a clearance does not give it, and does not make an old one younger.
CREATE OR REPLACE FUNCTION public.guard_clearance() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.body IS NOT NULL AND NEW.body IS DISTINCT FROM OLD.body)
       OR (NEW.answered_at IS NOT NULL AND NEW.answered_at IS DISTINCT FROM OLD.answered_at) THEN
        IF public.works_as('gitmedic_executor') THEN
            PERFORM public.refuse_role('answer a clearance');
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER clearances_guard BEFORE INSERT OR UPDATE ON clearances
    FOR EACH ROW EXECUTE FUNCTION public.guard_clearance();

-- What a person locked, a person unlocks; one with an end may be swept after it.
CREATE OR REPLACE FUNCTION public.guard_lock() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.run IS NULL AND (OLD.until IS NULL OR OLD.until > now()) AND public.works_as('gitmedic_executor') THEN
        PERFORM public.refuse_role('take a lock from a person');
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE OR REPLACE TRIGGER locks_guard BEFORE UPDATE OR DELETE ON locks FOR EACH ROW EXECUTE FUNCTION public.guard_lock();

-- Signs of life of executors; one takes the name of another, and of nobody else.
CREATE OR REPLACE FUNCTION public.guard_worker() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF public.works_as('gitmedic_executor') AND (NEW.roles <> 'execute' OR (TG_OP = 'UPDATE' AND OLD.roles <> 'execute')) THEN
        PERFORM public.refuse_role('live as anything but an executor');
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER workers_guard BEFORE INSERT OR UPDATE ON workers
    FOR EACH ROW EXECUTE FUNCTION public.guard_worker();
