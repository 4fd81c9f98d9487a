-- Backchannel authentication (CIBA): whom a polled request names, and what it says beside. Older nodes leave both empty.
ALTER TABLE polled ADD COLUMN user_id TEXT;
ALTER TABLE polled ADD COLUMN named TEXT;
CREATE INDEX polled_user ON polled (user_id, expires_at);

-- Clients that are to be told that their user has answered, until they were. A claim moves due_at to the end of its lease.
CREATE TABLE pings (
    digest     TEXT   NOT NULL PRIMARY KEY,
    client_id  TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    sealed     TEXT   NOT NULL,
    attempts   BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX pings_due ON pings (due_at);
CREATE INDEX pings_expiry ON pings (expires_at);
