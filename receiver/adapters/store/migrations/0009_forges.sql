-- Pull requests on other forges: what is ours about them. Their own state is read from the forge each time.

ALTER TABLE reviews ADD COLUMN signature text NOT NULL DEFAULT '';
ALTER TABLE pull_requests
    ADD COLUMN labels text[] NOT NULL DEFAULT '{}',
    ADD COLUMN status jsonb;

-- The name of the row that ended a case, beside its outcome.
ALTER TABLE cases ADD COLUMN reason text;
-- A reason to look that comes while somebody looks: what was read may be older than it.
ALTER TABLE cases ADD COLUMN woken boolean NOT NULL DEFAULT false;

-- The one comment of ours on each, by the forge's own id, and the digest of what it says.
CREATE TABLE forge_comments (
    repository text NOT NULL,
    number     integer NOT NULL,
    comment_id text NOT NULL DEFAULT '',
    sha256     text NOT NULL DEFAULT '',
    marks      text NOT NULL DEFAULT '',  -- digest of the labels and the status that we set last
    PRIMARY KEY (repository, number)
);

-- Words that people gave on our own pages or at a terminal about a pull request that lives elsewhere.
CREATE TABLE desk_reviews (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository text NOT NULL,
    number     integer NOT NULL,
    person     text NOT NULL,
    via        text NOT NULL,
    head_sha   text NOT NULL,
    verdict    text NOT NULL CHECK (verdict IN ('approve', 'reject')),
    signature  text NOT NULL DEFAULT '',
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX desk_reviews_number ON desk_reviews (repository, number, id);
CREATE TRIGGER desk_reviews_append_only BEFORE UPDATE OR DELETE ON desk_reviews
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Words of people for a revision that nobody could count on the forge (rule S4).
CREATE TABLE revision_words (
    old    text NOT NULL,
    new    text NOT NULL,
    digest text NOT NULL,
    person text NOT NULL,
    via    text NOT NULL,
    at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (old, new, digest, person)
);
CREATE TRIGGER revision_words_append_only BEFORE UPDATE OR DELETE ON revision_words
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Webhook deliveries, once each. They only say where to look.
CREATE TABLE forge_deliveries (
    forge       text NOT NULL,
    repository  text NOT NULL,
    id          text NOT NULL,
    event       text NOT NULL,
    number      integer,  -- of the pull request that it is about, if it says one
    ref         text,     -- that was pushed, with its new commit and who pushed it
    after_sha   text,
    pusher      text,     -- the forge's number of the account
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (forge, repository, id)
);
CREATE INDEX forge_deliveries_after ON forge_deliveries (after_sha) WHERE after_sha IS NOT NULL;

-- Until when everything on the forge was seen, and whose turn it is to look.
CREATE TABLE forge_polls (
    repository    text PRIMARY KEY,
    since         timestamptz,
    looking_until timestamptz
);

-- Pull requests of people that bring a run file, as far as they were looked at.
CREATE TABLE forge_given (
    repository text NOT NULL,
    number     integer NOT NULL,
    head_sha   text NOT NULL,
    case_id    uuid,
    why        text NOT NULL,  -- why no case was made of it; empty when one was
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository, number, head_sha)
);

-- What somebody who may approve has turned down is not proposed again for a while (rule S18).
CREATE TABLE turned_down (
    case_id    uuid PRIMARY KEY,
    source     text NOT NULL,
    alertname  text NOT NULL,
    entity     text NOT NULL,  -- empty: none
    playbook   text NOT NULL,
    params     text NOT NULL,  -- digest
    by         text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX turned_down_what ON turned_down (source, alertname, playbook, params, at);
