-- The front door stores alerts; the plan role opens their cases. This finds those that still wait for one.
CREATE INDEX alerts_waiting ON alerts (id) WHERE case_id IS NULL AND why IS NULL;
