-- Which request an event belongs to. Older nodes leave it empty.
ALTER TABLE audit ADD COLUMN request_id TEXT;
