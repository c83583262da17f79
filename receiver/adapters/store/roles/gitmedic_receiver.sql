-- The server: stores what comes in, shows everything, writes down what named people say. It begins no run and says
-- nothing about one: attempts, steps, events, clearances and slots are not its to write.

GRANT SELECT ON ALL TABLES IN SCHEMA public TO gitmedic_receiver;

-- what comes in
GRANT INSERT ON sources, deliveries, unreadable, forge_deliveries TO gitmedic_receiver;
GRANT INSERT, UPDATE ON alerts TO gitmedic_receiver;
-- who comes in
GRANT INSERT, UPDATE ON tokens, setup_links TO gitmedic_receiver;
GRANT INSERT, UPDATE, DELETE ON sessions TO gitmedic_receiver;
-- what people say; a case of theirs begins where every dispatched one does (see guards.sql)
GRANT INSERT (id, kind, body, role, due_at, playbook, entity, site, severity, events, source, fingerprint, alertname)
    ON cases TO gitmedic_receiver;
GRANT INSERT ON case_events, schedule_runs, reviews, desk_reviews, revision_words, adoptions TO gitmedic_receiver;
GRANT UPDATE (due_at, woken, events, updated_at, waiting, cancel_by) ON cases TO gitmedic_receiver;
GRANT UPDATE (cancel_by) ON attempts TO gitmedic_receiver;
GRANT INSERT, UPDATE ON pull_requests, forge_comments, resolutions TO gitmedic_receiver;
GRANT INSERT, UPDATE, DELETE ON locks, lock_queue TO gitmedic_receiver;
GRANT UPDATE (paused) ON installation TO gitmedic_receiver;
GRANT INSERT, DELETE ON memory TO gitmedic_receiver;
GRANT INSERT ON memory_forgotten TO gitmedic_receiver;

-- read only: schema_migrations, run_events, run_steps, clearances, proposal_slots, track_record, plan_attempts,
-- turned_down, schedules, forge_polls, forge_given, workers, sites, instances, memory_embedding
