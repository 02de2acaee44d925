-- The journal, the views that are folds of it, positions of sources, and credentials seen in use.
-- Only BIGINT, TEXT and BYTES-like columns; times are microseconds since the epoch, UTC.

CREATE TABLE journal (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    id   TEXT NOT NULL UNIQUE,
    at   BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);

-- What was journalled stays as it was.
CREATE TRIGGER journal_keeps_entries BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_keeps_all BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

-- In every view, `seq` is the entry that first made the row.
CREATE TABLE finding (
    id         TEXT PRIMARY KEY,
    seq        BIGINT NOT NULL,
    rule       TEXT NOT NULL,
    severity   BIGINT NOT NULL,
    source     TEXT NOT NULL,
    credential TEXT,
    kind       TEXT,
    lifetime   TEXT,
    provider   TEXT,
    account    TEXT,
    actor      TEXT,
    agent      TEXT,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    events     BIGINT NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX finding_by_weight ON finding (severity DESC, first_seen, id);
CREATE INDEX finding_by_credential ON finding (credential);
CREATE INDEX finding_by_rule ON finding (rule);

-- More than one row for a finding when its ownership is contested; `rank` 0 comes first.
CREATE TABLE finding_owner (
    finding TEXT NOT NULL,
    owner   TEXT NOT NULL,
    rank    BIGINT NOT NULL,
    PRIMARY KEY (finding, owner)
);
CREATE INDEX finding_owner_by_owner ON finding_owner (owner);

CREATE TABLE action (
    id         TEXT PRIMARY KEY,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    finding    TEXT NOT NULL,
    remediator TEXT NOT NULL,
    mode       TEXT NOT NULL,
    target     TEXT NOT NULL,
    refused    TEXT,
    body       TEXT NOT NULL
);
CREATE INDEX action_by_finding ON action (finding);

CREATE TABLE ticket (
    key        TEXT PRIMARY KEY,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    state      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    recipients TEXT NOT NULL,
    findings   TEXT NOT NULL
);

CREATE TABLE reject (
    id     TEXT PRIMARY KEY,
    seq    BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    origin TEXT NOT NULL,
    reason TEXT NOT NULL,
    body   TEXT NOT NULL
);
CREATE INDEX reject_by_seq ON reject (seq);

CREATE TABLE position (
    origin   TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE credential (
    credential TEXT PRIMARY KEY,
    kind       TEXT,
    lifetime   TEXT,
    provider   TEXT,
    account    TEXT,
    actor      TEXT,
    owner      TEXT,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    events     BIGINT NOT NULL
);
