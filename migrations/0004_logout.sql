-- Which clients hear of the end of a session, by which channel: only those that registered an address for it.
CREATE TABLE session_clients (
    sid        TEXT   NOT NULL,
    client_id  TEXT   NOT NULL,
    channel    TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (sid, client_id, channel)
);
CREATE INDEX session_clients_expiry ON session_clients (expires_at);

-- Notices of ended sessions that were not delivered yet. A claim moves due_at to the end of its lease.
CREATE TABLE logout_notices (
    sid        TEXT   NOT NULL,
    client_id  TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    attempts   BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (sid, client_id)
);
CREATE INDEX logout_notices_due ON logout_notices (due_at);
CREATE INDEX logout_notices_created ON logout_notices (created_at);

-- What the page after a logout does for its browser: frames of clients, and where it goes on.
CREATE TABLE farewells (
    digest         TEXT   NOT NULL PRIMARY KEY,
    browser_digest TEXT   NOT NULL,
    frames         TEXT   NOT NULL,
    next           TEXT,
    client_name    TEXT,
    expires_at     BIGINT NOT NULL
);
CREATE INDEX farewells_expiry ON farewells (expires_at);

-- Old keys verify hints about sessions for a while, but not those that were withdrawn. Older nodes leave it empty.
ALTER TABLE keys ADD COLUMN withdrawn_at BIGINT;
