-- Which records gave an output: by the first 31 bits of its checksum, the whole being compared after. Written when it is
-- first asked for, up to the latest record: so what nobody asks costs the writing of records nothing.
CREATE TABLE output (
    id INTEGER PRIMARY KEY,
    prefix INTEGER NOT NULL,
    record INTEGER NOT NULL
);
CREATE INDEX output_prefix ON output (prefix)
