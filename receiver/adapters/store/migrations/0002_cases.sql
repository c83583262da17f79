-- What happened: sources, deliveries, alerts, cases and everything a case leaves behind.

CREATE TABLE sources (
    name         text PRIMARY KEY,
    connected_at timestamptz NOT NULL DEFAULT now()
);

-- Raw bodies, exactly as they came. Kept apart from what was read out of them.
CREATE TABLE deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text NOT NULL,
    token       text NOT NULL DEFAULT '',
    body        bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cases (
    id            uuid PRIMARY KEY,
    number        bigint GENERATED ALWAYS AS IDENTITY,
    kind          text NOT NULL,
    body          jsonb NOT NULL,
    -- who may advance it, and when
    role          text NOT NULL,
    site          text NOT NULL DEFAULT '',
    due_at        timestamptz,
    lease_until   timestamptz,
    worker        text,
    fence         bigint NOT NULL DEFAULT 0,
    severity      smallint NOT NULL DEFAULT 2,
    waiting       text NOT NULL DEFAULT '',
    waits         integer NOT NULL DEFAULT 0,
    kind_since    timestamptz NOT NULL DEFAULT now(),
    -- copied out of the body for questions about many cases
    source        text,
    fingerprint   text,
    alertname     text,
    entity        text,
    playbook      text,
    run           uuid,
    proposal      integer,
    outcome       text,
    why           text NOT NULL DEFAULT '',
    is_open       boolean NOT NULL DEFAULT true,
    opened_at     timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    closed_at     timestamptz,
    events        bigint NOT NULL DEFAULT 0
);
CREATE INDEX cases_due ON cases (role, severity, due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX cases_open_alert ON cases (source, fingerprint) WHERE is_open AND source IS NOT NULL;
CREATE INDEX cases_recent ON cases (number DESC);
CREATE INDEX cases_open ON cases (number DESC) WHERE is_open;
CREATE INDEX cases_alertname ON cases (alertname, opened_at DESC);
CREATE INDEX cases_fingerprint ON cases (source, fingerprint, opened_at DESC);
CREATE UNIQUE INDEX cases_run ON cases (run) WHERE run IS NOT NULL;
CREATE INDEX cases_proposal ON cases (proposal) WHERE proposal IS NOT NULL;

-- One row per source + fingerprint + startsAt, also for those that open no case (then `why` says so).
CREATE TABLE alerts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        text NOT NULL,
    fingerprint   text NOT NULL,
    starts_at     timestamptz NOT NULL,
    status        text NOT NULL,
    labels        jsonb NOT NULL,
    annotations   jsonb NOT NULL,
    ends_at       timestamptz,
    generator_url text NOT NULL DEFAULT '',
    truncated     boolean NOT NULL DEFAULT false,
    times_seen    bigint NOT NULL DEFAULT 1,
    received_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz,
    case_id       uuid REFERENCES cases (id),
    why           text,
    UNIQUE (source, fingerprint, starts_at)
);
CREATE INDEX alerts_recent ON alerts (id DESC);
CREATE INDEX alerts_case ON alerts (case_id);

-- Pieces of deliveries that could not be believed: rows too, so that nothing vanishes.
CREATE TABLE unreadable (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id bigint NOT NULL REFERENCES deliveries (id),
    source      text NOT NULL,
    position    integer NOT NULL,
    reason      text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- The timeline, the audit and the stream: append-only, numbered per case.
CREATE TABLE case_events (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id uuid NOT NULL REFERENCES cases (id),
    seq     bigint NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    kind    text NOT NULL,
    actor   text NOT NULL,
    text    text NOT NULL DEFAULT '',
    data    jsonb NOT NULL DEFAULT '{}',
    UNIQUE (case_id, seq)
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER case_events_append_only BEFORE UPDATE OR DELETE ON case_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE proposal_slots (
    case_id  uuid PRIMARY KEY REFERENCES cases (id),
    taken_at timestamptz NOT NULL DEFAULT now(),
    freed_at timestamptz
);
CREATE INDEX proposal_slots_recent ON proposal_slots (taken_at DESC);

-- An attempt is one child process: a rehearsal (check) or the run itself, which is begun once.
CREATE TABLE attempts (
    id         uuid PRIMARY KEY,
    run        uuid NOT NULL,
    case_id    uuid NOT NULL REFERENCES cases (id),
    mode       text NOT NULL CHECK (mode IN ('check', 'run')),
    instance   text NOT NULL,
    begun_at   timestamptz NOT NULL DEFAULT now(),
    alive_at   timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    status     text,
    result     jsonb,
    cancel_by  text
);
CREATE UNIQUE INDEX attempts_once ON attempts (run) WHERE mode = 'run';
CREATE INDEX attempts_run ON attempts (run, begun_at DESC);

CREATE TABLE run_events (
    attempt_id uuid NOT NULL REFERENCES attempts (id),
    seq        integer NOT NULL,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    host       text NOT NULL DEFAULT '',
    task       text NOT NULL DEFAULT '',
    text       text NOT NULL DEFAULT '',
    diff       text NOT NULL DEFAULT '',
    data       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (attempt_id, seq)
);

CREATE TABLE clearances (
    run         uuid PRIMARY KEY,
    case_id     uuid NOT NULL REFERENCES cases (id),
    asked_at    timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz,
    body        jsonb
);
CREATE INDEX clearances_wanted ON clearances (asked_at) WHERE answered_at IS NULL;

CREATE TABLE locks (
    name     text PRIMARY KEY,
    run      uuid,
    case_id  uuid,
    reason   text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE track_record (
    case_id   uuid PRIMARY KEY REFERENCES cases (id),
    alertname text NOT NULL,
    entity    text NOT NULL,
    playbook  text NOT NULL,
    outcome   text NOT NULL,
    seconds   double precision NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX track_record_pair ON track_record (alertname, playbook, at DESC);

CREATE TABLE adoptions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    commit  text NOT NULL,
    old     text,
    digest  text NOT NULL DEFAULT '',
    actor   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);

-- One row: which data directory this database belongs to, and when a process of it was last alive.
CREATE TABLE installation (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    id       text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now(),
    alive_at timestamptz NOT NULL DEFAULT now(),
    paused   text
);

CREATE TABLE workers (
    name     text PRIMARY KEY,
    roles    text NOT NULL,
    version  text NOT NULL,
    metrics  jsonb NOT NULL DEFAULT '{}',
    alive_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    name       text PRIMARY KEY,
    scope      text NOT NULL,
    source     text NOT NULL DEFAULT '',
    sha256     text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    used_at    timestamptz,
    revoked_at timestamptz
);

CREATE TABLE setup_links (
    sha256     text PRIMARY KEY,
    person     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz
);

CREATE TABLE sessions (
    sha256     text PRIMARY KEY,
    person     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
