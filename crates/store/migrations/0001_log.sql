-- The log, and everything derived from it. Times are milliseconds since the Unix epoch; ids are 16 bytes.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    no        INTEGER PRIMARY KEY,
    id        BLOB NOT NULL,
    tenant    TEXT NOT NULL,
    door      TEXT NOT NULL,
    alias     TEXT,
    owner     TEXT NOT NULL,
    namespace TEXT NOT NULL,
    agent     TEXT NOT NULL,
    state     INTEGER NOT NULL,
    archived  INTEGER NOT NULL,
    busy      INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    head      INTEGER NOT NULL,
    fence     INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    tail      INTEGER NOT NULL,
    view      TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX session_id ON session (id);
CREATE UNIQUE INDEX session_alias ON session (tenant, door, alias) WHERE alias IS NOT NULL;
CREATE INDEX session_list ON session (tenant, updated, id, owner);

-- One row per append: its events as JSON lines. `id` only grows and is never used again. A session's newest
-- row is its `tail`, and each row says which of the same session was before it.
CREATE TABLE log (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    prev    INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    sum     INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;

-- Where a session's rows are. Rows with an id past meta's `indexed` are not in here yet; they are found from
-- the session's tail.
CREATE TABLE place (
    session INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    log     INTEGER NOT NULL,
    PRIMARY KEY (session, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    session      INTEGER NOT NULL,
    key          TEXT NOT NULL,
    body_hash    BLOB NOT NULL,
    input        BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    queue_length INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE approval (
    id      BLOB PRIMARY KEY,
    session INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_session ON approval (session);

-- One row per billed call; it outlives its session, without content.
CREATE TABLE usage (
    tenant      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    session     BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    agent       TEXT NOT NULL,
    model       TEXT NOT NULL,
    input       INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    cache_read  INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cost        INTEGER,
    PRIMARY KEY (tenant, at, session, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE key (
    id          BLOB PRIMARY KEY,
    tenant      TEXT NOT NULL,
    principal   TEXT NOT NULL,
    label       TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    scopes      INTEGER NOT NULL,
    agents      TEXT NOT NULL,
    namespaces  TEXT NOT NULL,
    networks    TEXT NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER,
    revoked     INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    no        INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    principal TEXT NOT NULL,
    action    TEXT NOT NULL,
    object    TEXT NOT NULL,
    source    TEXT
) STRICT;

-- Words of messages (rowid = log.id * 2^20 + place in the append) and of titles (rowid = -session.no).
CREATE VIRTUAL TABLE find USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
