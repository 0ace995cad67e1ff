-- A turn's row for lists; made anew from the logs like everything derived.
CREATE TABLE turn (
    tenant  TEXT NOT NULL,
    id      BLOB NOT NULL,
    session INTEGER NOT NULL,
    owner   TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    name    TEXT,
    started INTEGER NOT NULL,
    ended   INTEGER,
    ending  INTEGER,
    PRIMARY KEY (tenant, id, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX turn_session ON turn (session);
