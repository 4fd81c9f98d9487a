-- Authorization requests that clients pushed (RFC 9126), until they are answered.
CREATE TABLE pushed_requests (
    digest         TEXT   NOT NULL PRIMARY KEY,
    client_id      TEXT   NOT NULL,
    owner          TEXT   NOT NULL,
    params         TEXT   NOT NULL,
    browser_digest TEXT,
    expires_at     BIGINT NOT NULL,
    used_at        BIGINT
);
CREATE INDEX pushed_requests_expiry ON pushed_requests (expires_at);
CREATE INDEX pushed_requests_owner ON pushed_requests (owner, expires_at);
-- Which of them a running request came from. Older nodes leave it empty.
ALTER TABLE requests ADD COLUMN pushed TEXT;
