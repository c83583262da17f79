-- What earlier rounds stored goes away, so that each begins with the same small tables.
TRUNCATE deliveries, cases, alerts, unreadable, case_events, proposal_slots, attempts, run_events, clearances, locks, lock_queue, run_steps, resolutions,
    schedule_runs,
    track_record;
CHECKPOINT;
