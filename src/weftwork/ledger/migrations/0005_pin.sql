-- What is never freed. `kind` says what `target` names: a job, a run, a checksum, a key.
CREATE TABLE pin (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    note TEXT NOT NULL,
    created TEXT NOT NULL
)
