-- An installation that remembers: names of two words in a skew like that of real alerts, hosts, sites, playbooks.
-- One in seven was not verified and is kept without being recalled.
INSERT INTO memory (id, kind, at, text, alertname, entity_kind, entity, site, playbook, outcome, seconds, words)
SELECT md5('memory' || number)::uuid, 'case', now() - make_interval(secs => %(rows)s::int - number), '', name, 'host', host,
       site, playbook, outcome, 60,
       CASE WHEN outcome <> 'notified' THEN
           setweight(to_tsvector('simple', lower(component || symptom || ' ' || component || ' ' || symptom)), 'A')
           || setweight(to_tsvector('english', lower(concat_ws(' ', component || symptom, component, symptom, host,
                                                               site, replace(playbook, '_', ' '), outcome))), 'B') END
FROM (
    SELECT number, component, symptom, component || symptom AS name, 'host' || (number::bigint * 7919 %% 800) AS host,
           'site' || (number %% 3) AS site, lower(component) || '_' || (ARRAY['restart', 'clean', 'extend'])[1 + number %% 3]
               AS playbook,
           CASE WHEN number %% 7 = 0 THEN 'notified' WHEN number %% 9 = 0 THEN 'not_fixed' ELSE 'fixed' END AS outcome
    FROM generate_series(%(from)s::int, %(rows)s::int) AS number,
    LATERAL (SELECT power((number::bigint * 104729 %% 9973) / 9973.0, 2) AS one, power((number::bigint * 15485863 %% 9949) / 9949.0, 2)
             AS two) AS dice,
    LATERAL (SELECT (%(components)s::text[])[1 + floor(one * cardinality(%(components)s::text[]))::int] AS component,
                    (%(symptoms)s::text[])[1 + floor(two * cardinality(%(symptoms)s::text[]))::int] AS symptom) AS named
) AS made;
