-- Facts: who has which job, what happened, what came out. Read by SQLite and by PostgreSQL.
--
-- Rows are numbered by integers that grow, and found by the first 31 bits of a key as an integer, the whole key
-- being compared after: random 32-byte primary keys cost three times as much at a million rows. Numbers are given
-- out by the one writer that there is at a time. A job's name says its number, so that names need no index.

CREATE TABLE migration (
    version INTEGER PRIMARY KEY,
    needs TEXT NOT NULL
);

-- A process that owns jobs. `expires` is by the database's clock; `gone` says that it left of its own will.
CREATE TABLE owner (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    boot TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    expires DOUBLE PRECISION NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0
);

-- What many calculations share (all but their inputs), once.
CREATE TABLE frame (
    id INTEGER PRIMARY KEY,
    checksum TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL
);

CREATE TABLE calculation (
    id INTEGER PRIMARY KEY,
    prefix INTEGER NOT NULL,
    key TEXT NOT NULL,
    frame INTEGER NOT NULL,
    inputs TEXT NOT NULL
);
CREATE INDEX calculation_prefix ON calculation (prefix);

-- `rank`: 'answer' is given to whoever claims the key, 'conflict' is a later one that differs, 'own' belongs to its
-- job alone. That there is one answer to a key is the index's word.
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    calculation INTEGER NOT NULL,
    rank TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX record_answer ON record (calculation) WHERE rank = 'answer';
CREATE INDEX record_conflict ON record (id) WHERE rank = 'conflict';

-- What many jobs share of how they were asked for, once. `run` is '' outside of a run.
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    label TEXT NOT NULL,
    run TEXT NOT NULL,
    placement TEXT NOT NULL
);
CREATE UNIQUE INDEX request_asked ON request (label, run, placement);
CREATE INDEX request_run ON request (run);

-- `events` holds the job's events, encoded and joined by commas: appending to it in the statement that sets the state
-- numbers them without gaps, whoever writes. `private` is 0 for a job that answers its key to all, else the job's own
-- number. `wanted`: the owner itself still waits for the result; other waiters have rows of their own.
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    calculation INTEGER NOT NULL,
    request INTEGER NOT NULL,
    step TEXT,
    private INTEGER NOT NULL,
    live INTEGER NOT NULL,
    wanted INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL,
    record INTEGER,
    cancel TEXT,
    events TEXT NOT NULL
);
CREATE UNIQUE INDEX job_live ON job (calculation, private) WHERE live = 1;
CREATE INDEX job_cancel ON job (owner) WHERE live = 1 AND cancel IS NOT NULL;
CREATE INDEX job_unwell ON job (state) WHERE state IN ('failed', 'cancelled');
CREATE INDEX job_request ON job (request);
CREATE INDEX job_step ON job (request, step) WHERE step IS NOT NULL;

CREATE TABLE waiter (
    job INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    PRIMARY KEY (job, owner)
);

-- Local CPUs, memory and GPUs, held or waited for; the order of `id` is the order of arrival.
CREATE TABLE slot (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    owner INTEGER NOT NULL,
    holder TEXT NOT NULL,
    held INTEGER NOT NULL,
    cpus INTEGER NOT NULL,
    memory BIGINT NOT NULL,
    gpus INTEGER NOT NULL
);
CREATE UNIQUE INDEX slot_holder ON slot (holder, owner);

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    state TEXT NOT NULL,
    created TEXT NOT NULL,
    document TEXT NOT NULL,
    owner INTEGER NOT NULL,
    ended TEXT,
    outcome TEXT
);
CREATE INDEX run_label ON run (label);

CREATE TABLE step (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    job TEXT,
    detail TEXT NOT NULL
);
CREATE UNIQUE INDEX step_name ON step (run, name);

CREATE TABLE choice (
    key TEXT PRIMARY KEY,
    body TEXT NOT NULL
);
