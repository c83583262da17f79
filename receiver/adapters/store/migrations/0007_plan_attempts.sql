-- Every attempt of a planner's tier: what it cost, and why its answer was taken or not. The case is no reference:
-- a question that is asked without a case (an evaluation with a budget) is paid for like any other.

CREATE TABLE plan_attempts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id       text NOT NULL,
    tier          text NOT NULL,
    model         text NOT NULL,
    verdict       text NOT NULL,
    reason        text NOT NULL,
    why           text NOT NULL,
    prompt        text NOT NULL,
    requests      integer NOT NULL,
    seconds       double precision NOT NULL,
    tokens_in     integer NOT NULL,
    tokens_cached integer NOT NULL,
    tokens_out    integer NOT NULL,
    cost_usd      double precision NOT NULL CHECK (cost_usd >= 0),
    at            timestamptz NOT NULL DEFAULT now()
);
-- what a budget asks: only rows that cost something count
CREATE INDEX plan_attempts_day ON plan_attempts (at) INCLUDE (cost_usd) WHERE cost_usd > 0;
CREATE INDEX plan_attempts_case ON plan_attempts (case_id) INCLUDE (cost_usd);
