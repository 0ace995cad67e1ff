-- Approvals stay known after they are decided: where the log asks, where it decides. None was ever written before.

DROP TABLE approval;
CREATE TABLE approval (
    id         BLOB PRIMARY KEY,
    session    INTEGER NOT NULL,
    asked      INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    decided    INTEGER,
    decided_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_session ON approval (session);
CREATE INDEX approval_open ON approval (expires, id) WHERE decided IS NULL;
CREATE INDEX approval_decided ON approval (decided_at, id) WHERE decided IS NOT NULL;
