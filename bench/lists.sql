-- An installation that is some years old: 100,000 closed cases with ten events each, their alerts, and one that waits
-- for a person. `case` is the body of one whole case; every row gets an id of its own.
INSERT INTO cases (id, kind, body, role, source, fingerprint, alertname, entity, playbook, run, outcome, why, is_open,
                   opened_at, closed_at, events)
SELECT id, 'closed', jsonb_set(jsonb_set(%(case)s::jsonb, '{id}', to_jsonb(id::text)),
                               '{runfile,run}', to_jsonb(run::text)), 'plan', 'bench',
       lpad(to_hex(number), 16, '0'), 'Alert' || number %% 200, 'host' || number %% 500, 'web_restart', run,
       CASE WHEN number %% 1000 = 0 THEN 'rejected' WHEN number %% 3 = 0 THEN 'not_fixed' ELSE 'fixed' END,
       'the expression says resolved since two evaluations', false,
       now() - make_interval(mins => %(cases)s::int - number), now() - make_interval(mins => %(cases)s::int - number), 10
FROM (SELECT number, md5('case' || number)::uuid AS id, md5('run' || number)::uuid AS run
      FROM generate_series(1, %(cases)s::int) AS number) AS made;

INSERT INTO case_events (case_id, seq, kind, actor, text)
SELECT md5('case' || number)::uuid, seq, 'case.triaged', 'system', 'worth looking at, and about host web1'
FROM generate_series(1, %(cases)s::int) AS number, generate_series(1, 10) AS seq;

INSERT INTO alerts (source, fingerprint, starts_at, status, labels, annotations, case_id)
SELECT 'bench', lpad(to_hex(number), 16, '0'), now() - make_interval(mins => %(cases)s::int - number), 'resolved',
       jsonb_build_object('alertname', 'Alert' || number %% 200, 'instance', 'web' || number || ':9100', 'job', 'node',
                          'severity', 'warning'),
       jsonb_build_object('summary', 'something is wrong'), md5('case' || number)::uuid
FROM generate_series(1, %(cases)s::int) AS number;

-- The newest case has a run that said much.
INSERT INTO attempts (id, run, case_id, mode, instance, ended_at, status, result)
SELECT run, run, id, 'run', 'bench', now(), 'successful', body->'result'
FROM cases ORDER BY number DESC LIMIT 1;

INSERT INTO run_events (attempt_id, seq, at, kind, host, task, text)
SELECT attempts.id, seq, now(), 'ok', 'web1', 'Task ' || seq, 'a line of about as many words as tasks say'
FROM attempts, generate_series(1, %(events)s::int) AS seq;

ANALYZE;
