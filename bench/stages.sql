-- One row per case after a number: seconds from the stored alert to the proposal without the dry run, each stage on the way, and
-- seconds from a person's word to the first task of the run. A stage's time is that from the event before it.
WITH steps AS (
    SELECT case_id, kind, at - lag(at) OVER (PARTITION BY case_id ORDER BY seq) AS took
    FROM case_events
    WHERE kind LIKE 'case.%%' AND kind <> 'case.waiting'
      AND case_id IN (SELECT id FROM cases WHERE number > %(after)s)
),
ways AS (
    SELECT case_id,
           extract(epoch FROM sum(took) FILTER (WHERE kind IN ('case.triaged', 'case.investigated', 'case.planned',
                                                               'case.vetted', 'case.proposed')))::float AS proposed,
           extract(epoch FROM max(took) FILTER (WHERE kind = 'case.rehearsed'))::float AS rehearsed,
           jsonb_object_agg(replace(kind, 'case.', ''), extract(epoch FROM took)::float)
               FILTER (WHERE took IS NOT NULL) AS stages
    FROM steps GROUP BY case_id HAVING bool_or(kind = 'case.proposed')
),
begun AS (
    SELECT attempts.case_id, min(run_events.at) AS at
    FROM attempts JOIN run_events ON run_events.attempt_id = attempts.id
    WHERE attempts.mode = 'run' AND run_events.kind = 'task' GROUP BY attempts.case_id
),
merged AS (
    SELECT case_id, min(at) AS at FROM case_events WHERE kind = 'proposal.approved' GROUP BY case_id
)
SELECT ways.proposed, ways.rehearsed, ways.stages, extract(epoch FROM begun.at - merged.at)::float AS to_first_task
FROM ways LEFT JOIN begun USING (case_id) LEFT JOIN merged USING (case_id);
