-- The built-in forge: pull requests over the bare ops repository, and what people said of them.

CREATE TABLE pull_requests (
    number             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id             uuid UNIQUE,
    branch             text NOT NULL UNIQUE,
    title              text NOT NULL,
    body               text NOT NULL,
    base_ref           text NOT NULL,
    head_sha           text NOT NULL,  -- at opening; while it is open, the branch itself says where it stands
    author             text NOT NULL,
    state              text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'merged', 'closed')),
    -- written before git is touched: whoever reads the row after a crash can tell what the merge would be
    intended_merge_sha text,
    intended_head_sha  text,
    intended_by        text,
    intended_at        timestamptz,
    merge_sha          text,
    merged_head_sha    text,
    merged_by          text,
    merged_at          timestamptz,  -- when the person decided, not when the row was completed
    closed_by          text,
    closed_why         text,
    closed_at          timestamptz,
    comment            text NOT NULL DEFAULT '',
    created_at         timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'merged') = (merge_sha IS NOT NULL)),
    CHECK ((state = 'closed') = (closed_by IS NOT NULL))
);
CREATE INDEX pull_requests_open ON pull_requests (number) WHERE state = 'open';

CREATE TABLE reviews (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number   integer NOT NULL REFERENCES pull_requests (number),
    person   text NOT NULL,
    via      text NOT NULL,
    head_sha text NOT NULL,
    verdict  text NOT NULL CHECK (verdict IN ('approve', 'reject')),
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reviews_number ON reviews (number, id);
CREATE TRIGGER reviews_append_only BEFORE UPDATE OR DELETE ON reviews
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
