-- Who asked for a run's end: its owner looks, and withdraws it.
ALTER TABLE run ADD COLUMN cancel TEXT
