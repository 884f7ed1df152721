-- How a message's text is cut into its parts (core/text.py, Cut), as decided when it was accepted.
ALTER TABLE message ADD COLUMN cut smallint NOT NULL DEFAULT 0;
