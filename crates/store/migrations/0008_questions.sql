-- Where the logs ask people something and where they answer, as for approvals. None was ever asked before.

CREATE TABLE question (
    id         BLOB PRIMARY KEY,
    session    INTEGER NOT NULL,
    asked      INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    decided    INTEGER,
    decided_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX question_session ON question (session);
CREATE INDEX question_open ON question (expires, id) WHERE decided IS NULL;
CREATE INDEX question_decided ON question (decided_at, id) WHERE decided IS NOT NULL;
