-- What a client polls for until its user has answered elsewhere: device authorization (RFC 8628).

CREATE TABLE polled (
    digest      TEXT   NOT NULL PRIMARY KEY,
    user_code   TEXT   UNIQUE,
    client_id   TEXT   NOT NULL,
    network     TEXT   NOT NULL,
    scope       TEXT   NOT NULL,
    resources   TEXT   NOT NULL,
    pause       BIGINT NOT NULL,
    polled_at   BIGINT,
    expires_at  BIGINT NOT NULL,
    denied_at   BIGINT,
    allowed_at  BIGINT,
    consent_id  TEXT,
    grant_facts TEXT,
    used_at     BIGINT
);
CREATE INDEX polled_expiry ON polled (expires_at);
CREATE INDEX polled_network ON polled (network, expires_at);
CREATE INDEX polled_consent ON polled (consent_id);
