-- The secret of a client that signs with it, sealed under the master key. Older nodes leave it empty.
ALTER TABLE clients ADD COLUMN secret_sealed TEXT;
-- Access tokens that say nothing to those who hold them; the claims are JSON.
CREATE TABLE access_tokens (
    digest     TEXT   NOT NULL PRIMARY KEY,
    claims     TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX access_tokens_expiry ON access_tokens (expires_at);
