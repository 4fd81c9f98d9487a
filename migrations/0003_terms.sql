-- What a grant says beyond the other columns, as JSON. Older nodes leave it empty.
ALTER TABLE grants ADD COLUMN terms TEXT;
