-- name: spent
-- The day is the database's, in UTC: several planners on several machines share one budget.
SELECT
    (SELECT coalesce(sum(cost_usd), 0) FROM plan_attempts
      WHERE cost_usd > 0 AND at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') AS day,
    (SELECT coalesce(sum(cost_usd), 0) FROM plan_attempts WHERE case_id = %(case)s) AS "case";

-- name: book
INSERT INTO plan_attempts (case_id, tier, model, verdict, reason, why, prompt, requests, seconds, tokens_in,
                           tokens_cached, tokens_out, cost_usd)
VALUES (%(case)s, %(tier)s, %(model)s, %(verdict)s, %(reason)s, %(why)s, %(prompt)s, %(requests)s, %(seconds)s,
        %(tokens_in)s, %(tokens_cached)s, %(tokens_out)s, %(cost_usd)s);
