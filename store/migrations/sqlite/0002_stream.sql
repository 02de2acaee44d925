-- What the streaming service keeps: how far each origin was taken in, records that wait for their shard, who owns what,
-- and the state of shards. A body stands last, so that a row is read without it.

ALTER TABLE finding ADD COLUMN superseded TEXT;
CREATE INDEX journal_by_kind ON journal (kind, seq);

CREATE TABLE ledger (
    source   TEXT NOT NULL,
    origin   TEXT NOT NULL,
    position BIGINT NOT NULL,
    done     BIGINT NOT NULL,
    events   BIGINT NOT NULL,
    rejects  BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (source, origin)
);

-- `kind` is 0 for records, 1 for a tick. Numbers are never given again.
CREATE TABLE inbox (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    lane   TEXT NOT NULL,
    kind   BIGINT NOT NULL,
    first  BIGINT NOT NULL,
    last   BIGINT NOT NULL,
    events BIGINT NOT NULL,
    size   BIGINT NOT NULL,
    body   BLOB NOT NULL
);

CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch  BIGINT NOT NULL,
    beat   BIGINT NOT NULL
);

-- `version` is 0 while nothing was saved.
CREATE TABLE shard (
    name    TEXT PRIMARY KEY,
    cursor  BIGINT NOT NULL,
    floor   BIGINT NOT NULL,
    version BIGINT NOT NULL,
    body    BLOB NOT NULL
);

CREATE TABLE seen (
    shard TEXT NOT NULL,
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    last  BIGINT NOT NULL,
    ids   BLOB NOT NULL
);
CREATE INDEX seen_by_shard ON seen (shard, last);
