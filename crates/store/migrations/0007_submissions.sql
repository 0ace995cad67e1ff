-- A client's name for a submission is its principal's own, and some count in all sessions of their door. Those that
-- were written before were used in a session, nearly always by its owner.

ALTER TABLE idempotency RENAME TO before;
CREATE TABLE idempotency (
    session      INTEGER NOT NULL,
    principal    TEXT NOT NULL,
    key          TEXT NOT NULL,
    everywhere   INTEGER NOT NULL,
    body_hash    BLOB NOT NULL,
    input        BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    queue_length INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (session, principal, key, everywhere)
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency (session, principal, key, everywhere, body_hash, input, seq, queue_length, at)
    SELECT b.session, s.owner, b.key, 0, b.body_hash, b.input, b.seq, b.queue_length, b.at
    FROM before b JOIN session s ON s.no = b.session;
DROP TABLE before;
CREATE INDEX idempotency_at ON idempotency (at);
CREATE INDEX idempotency_everywhere ON idempotency (principal, key) WHERE everywhere = 1;
