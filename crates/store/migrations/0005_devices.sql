-- The device a key was made for, as JSON, where it was paired.

ALTER TABLE key ADD COLUMN device TEXT;
