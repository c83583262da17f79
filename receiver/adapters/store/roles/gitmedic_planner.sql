-- The planner: takes cases through every stage that touches no host, clears runs, learns. It begins no run, gives no
-- approval in anybody's name, and knows nothing of sessions and tokens.

GRANT SELECT ON ALL TABLES IN SCHEMA public TO gitmedic_planner;
REVOKE SELECT ON tokens, sessions, setup_links FROM gitmedic_planner;

GRANT INSERT, UPDATE ON cases TO gitmedic_planner;
GRANT INSERT ON case_events TO gitmedic_planner;
GRANT UPDATE ON alerts TO gitmedic_planner;
GRANT INSERT, UPDATE, DELETE ON proposal_slots, locks, lock_queue, sites TO gitmedic_planner;
GRANT INSERT, UPDATE, DELETE ON workers, schedules, schedule_runs TO gitmedic_planner;
GRANT USAGE ON SEQUENCE worker_fences TO gitmedic_planner;
-- what a run has come to, when nobody is at it any more; never that one began
GRANT UPDATE (ended_at, status, result, late, cancel_by) ON attempts TO gitmedic_planner;
GRANT UPDATE, DELETE ON clearances TO gitmedic_planner;
GRANT INSERT, UPDATE ON track_record, turned_down, plan_attempts, resolutions TO gitmedic_planner;
-- what was merged takes effect; the words for it are people's
GRANT INSERT ON adoptions TO gitmedic_planner;
GRANT INSERT, UPDATE ON pull_requests, forge_comments, forge_polls, forge_given TO gitmedic_planner;
GRANT DELETE ON forge_deliveries TO gitmedic_planner;
GRANT INSERT, UPDATE, DELETE ON memory TO gitmedic_planner;
DO $$ BEGIN
    IF to_regclass('memory_embedding') IS NOT NULL THEN
        GRANT INSERT, UPDATE, DELETE ON memory_embedding TO gitmedic_planner;
    END IF;
END $$;

-- read only: schema_migrations, sources, deliveries, unreadable, run_events, run_steps, reviews, desk_reviews,
-- revision_words, installation, instances, memory_forgotten
