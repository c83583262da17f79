-- A list of alerts by their why: the alert's own word, or the end of its case. Rows without one cost no entry.
CREATE INDEX alerts_why ON alerts (why, id DESC) WHERE why IS NOT NULL;
CREATE INDEX cases_outcome ON cases (outcome) WHERE outcome IS NOT NULL;
-- the primary key says the same, read backwards
DROP INDEX alerts_recent;
