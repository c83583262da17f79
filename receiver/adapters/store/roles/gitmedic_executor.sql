-- The executor: takes cases that are due for it, writes down how their runs went, gives them back. What it may change
-- of a case is one step on, and nothing that was decided before (see guards.sql).

GRANT SELECT ON cases, case_events, attempts, run_events, run_steps, clearances, locks, lock_queue, adoptions, workers,
    sites, installation, instances, schema_migrations, workers_seen, lock_turns, unsettled_cases TO gitmedic_executor;

GRANT UPDATE ON cases TO gitmedic_executor;
GRANT INSERT ON case_events, run_events TO gitmedic_executor;
GRANT INSERT (id, run, case_id, mode, instance) ON attempts TO gitmedic_executor;
GRANT UPDATE (alive_at, ended_at, status, result, late) ON attempts TO gitmedic_executor;
GRANT INSERT (run, step, attempt, hosts) ON run_steps TO gitmedic_executor;
GRANT UPDATE (ended_at, result) ON run_steps TO gitmedic_executor;
-- it asks, forgets an answer that was used, never answers, and gives no answer to another run
GRANT INSERT (run, case_id) ON clearances TO gitmedic_executor;
GRANT UPDATE (asked_at, answered_at, body) ON clearances TO gitmedic_executor;
GRANT DELETE ON clearances TO gitmedic_executor;
GRANT INSERT (name, run, case_id, reason) ON locks TO gitmedic_executor;
GRANT DELETE ON locks TO gitmedic_executor;
-- nobody makes himself wait for longer than he does
GRANT INSERT (run, case_id, names, reason) ON lock_queue TO gitmedic_executor;
GRANT UPDATE (names, reason, seen_at) ON lock_queue TO gitmedic_executor;
GRANT DELETE ON lock_queue TO gitmedic_executor;
GRANT INSERT, UPDATE ON workers TO gitmedic_executor;
GRANT USAGE ON SEQUENCE worker_fences TO gitmedic_executor;

-- nothing at all: sources, deliveries, alerts, unreadable, proposal_slots, track_record, tokens, setup_links, sessions,
-- pull_requests, reviews, desk_reviews, revision_words, forge_comments, forge_deliveries, forge_polls, forge_given,
-- turned_down, memory, memory_forgotten, memory_embedding, plan_attempts, schedules, schedule_runs,
-- resolutions
