-- What a later version may do, for a test: it adds, and takes nothing away.
CREATE TABLE next_things (
    id TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
ALTER TABLE refresh_tokens ADD COLUMN next_thing TEXT;
ALTER TABLE grants ADD COLUMN next_thing TEXT;
ALTER TABLE clients ADD COLUMN next_thing TEXT;
ALTER TABLE keys ADD COLUMN next_thing TEXT;
CREATE INDEX refresh_tokens_by_next_thing ON refresh_tokens (next_thing);
