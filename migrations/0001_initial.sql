-- One portable set for SQLite and PostgreSQL: TEXT and BIGINT columns only. Times are unix seconds, a state is a
-- nullable timestamp, digests are SHA-256 in base64url, JSON is text.

CREATE TABLE users (
    id            TEXT   NOT NULL PRIMARY KEY,
    username      TEXT   NOT NULL UNIQUE,
    origin        TEXT   NOT NULL,
    password_hash TEXT,
    claims        TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT
);

CREATE TABLE resources (
    id         TEXT   NOT NULL PRIMARY KEY,
    definition TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE clients (
    id                  TEXT   NOT NULL PRIMARY KEY,
    origin              TEXT   NOT NULL,
    metadata            TEXT   NOT NULL,
    fingerprint         TEXT   NOT NULL,
    secret_digest       TEXT,
    registration_digest TEXT,
    address             TEXT,
    created_at          BIGINT NOT NULL,
    disabled_at         BIGINT
);
CREATE INDEX clients_fingerprint ON clients (fingerprint);
CREATE INDEX clients_created ON clients (origin, created_at);

CREATE TABLE documents (
    url         TEXT   NOT NULL PRIMARY KEY,
    body        TEXT   NOT NULL,
    fetched_at  BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL
);

CREATE TABLE sessions (
    digest       TEXT   NOT NULL PRIMARY KEY,
    sid          TEXT   NOT NULL UNIQUE,
    user_id      TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    auth_time    BIGINT NOT NULL,
    amr          TEXT   NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE requests (
    digest         TEXT   NOT NULL PRIMARY KEY,
    browser_digest TEXT   NOT NULL,
    network        TEXT   NOT NULL,
    params         TEXT   NOT NULL,
    session_digest TEXT,
    expires_at     BIGINT NOT NULL,
    used_at        BIGINT
);
CREATE INDEX requests_expiry ON requests (expires_at);
CREATE INDEX requests_network ON requests (network, expires_at);

CREATE TABLE consents (
    id          TEXT   NOT NULL PRIMARY KEY,
    user_id     TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id   TEXT   NOT NULL,
    resources   TEXT   NOT NULL,
    redirect    TEXT   NOT NULL,
    scope       TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (user_id, client_id, resources, redirect)
);
CREATE INDEX consents_client ON consents (client_id);

CREATE TABLE grants (
    id         TEXT   NOT NULL PRIMARY KEY,
    user_id    TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id  TEXT   NOT NULL,
    scope      TEXT   NOT NULL,
    resources  TEXT   NOT NULL,
    auth_time  BIGINT NOT NULL,
    amr        TEXT   NOT NULL,
    sid        TEXT   NOT NULL,
    nonce      TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX grants_user_client ON grants (user_id, client_id);
CREATE INDEX grants_client ON grants (client_id);
CREATE INDEX grants_expiry ON grants (expires_at);

CREATE TABLE codes (
    digest       TEXT   NOT NULL PRIMARY KEY,
    consent_id   TEXT   NOT NULL,
    grant_facts  TEXT   NOT NULL,
    redirect_uri TEXT   NOT NULL,
    challenge    TEXT,
    expires_at   BIGINT NOT NULL,
    used_at      BIGINT
);
CREATE INDEX codes_expiry ON codes (expires_at);

CREATE TABLE refresh_tokens (
    digest     TEXT   NOT NULL PRIMARY KEY,
    grant_id   TEXT   NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    successor  TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    rotated_at BIGINT
);
CREATE INDEX refresh_tokens_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- Identifiers that count once: assertion jtis, and access tokens revoked before their end.
CREATE TABLE seen (
    purpose    TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, id)
);
CREATE INDEX seen_expiry ON seen (expires_at);

CREATE TABLE failures (
    id         TEXT   NOT NULL PRIMARY KEY,
    count      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX failures_expiry ON failures (expires_at);

CREATE TABLE keys (
    kid        TEXT   NOT NULL PRIMARY KEY,
    alg        TEXT   NOT NULL,
    sealed     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    retires_at BIGINT
);

CREATE TABLE audit (
    id         TEXT   NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    user_id    TEXT,
    client_id  TEXT,
    address    TEXT,
    detail     TEXT   NOT NULL
);
CREATE INDEX audit_at ON audit (at);
