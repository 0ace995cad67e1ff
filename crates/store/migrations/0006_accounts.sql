-- Who set a model call off, and where its session belongs; unknown of calls that were written down before.

ALTER TABLE usage ADD COLUMN principal TEXT;
ALTER TABLE usage ADD COLUMN namespace TEXT;
