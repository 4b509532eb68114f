-- Which job gave a record: a conflict tells for both of its results where they came from. Null for records from before.
ALTER TABLE record ADD COLUMN job INTEGER
