-- The journal, the views that are folds of it, positions of sources, and credentials seen in use.
-- The columns of SQLite's; texts compare by their bytes, whatever the language of the database.

CREATE TABLE journal (
    seq  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id   TEXT COLLATE "C" NOT NULL UNIQUE,
    at   BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL
);

-- What was journalled stays as it was.
CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only';
END $$;
CREATE TRIGGER journal_keeps_entries BEFORE UPDATE OR DELETE ON journal
FOR EACH ROW EXECUTE FUNCTION journal_is_append_only();
CREATE TRIGGER journal_keeps_all BEFORE TRUNCATE ON journal
FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

-- In every view, `seq` is the entry that first made the row.
CREATE TABLE finding (
    id         TEXT COLLATE "C" PRIMARY KEY,
    seq        BIGINT NOT NULL,
    rule       TEXT COLLATE "C" NOT NULL,
    severity   BIGINT NOT NULL,
    source     TEXT COLLATE "C" NOT NULL,
    credential TEXT COLLATE "C",
    kind       TEXT COLLATE "C",
    lifetime   TEXT COLLATE "C",
    provider   TEXT COLLATE "C",
    account    TEXT COLLATE "C",
    actor      TEXT COLLATE "C",
    agent      TEXT COLLATE "C",
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    events     BIGINT NOT NULL,
    body       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX finding_by_weight ON finding (severity DESC, first_seen, id);
CREATE INDEX finding_by_credential ON finding (credential);
CREATE INDEX finding_by_rule ON finding (rule);

-- More than one row for a finding when its ownership is contested; `rank` 0 comes first.
CREATE TABLE finding_owner (
    finding TEXT COLLATE "C" NOT NULL,
    owner   TEXT COLLATE "C" NOT NULL,
    rank    BIGINT NOT NULL,
    PRIMARY KEY (finding, owner)
);
CREATE INDEX finding_owner_by_owner ON finding_owner (owner);

CREATE TABLE action (
    id         TEXT COLLATE "C" PRIMARY KEY,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    finding    TEXT COLLATE "C" NOT NULL,
    remediator TEXT COLLATE "C" NOT NULL,
    mode       TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C" NOT NULL,
    refused    TEXT COLLATE "C",
    body       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX action_by_finding ON action (finding);

CREATE TABLE ticket (
    key        TEXT COLLATE "C" PRIMARY KEY,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    detail     TEXT COLLATE "C" NOT NULL,
    recipients TEXT COLLATE "C" NOT NULL,
    findings   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE reject (
    id     TEXT COLLATE "C" PRIMARY KEY,
    seq    BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    body   TEXT COLLATE "C" NOT NULL
);
CREATE INDEX reject_by_seq ON reject (seq);

CREATE TABLE position (
    origin   TEXT COLLATE "C" PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE credential (
    credential TEXT COLLATE "C" PRIMARY KEY,
    kind       TEXT COLLATE "C",
    lifetime   TEXT COLLATE "C",
    provider   TEXT COLLATE "C",
    account    TEXT COLLATE "C",
    actor      TEXT COLLATE "C",
    owner      TEXT COLLATE "C",
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    events     BIGINT NOT NULL
);
