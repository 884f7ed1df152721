-- Opt-outs from one sender, links that end, and the kill switch, as for SQLite.

ALTER TABLE entry ADD COLUMN sender text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE entry DROP CONSTRAINT entry_number_test_listing_account_key;

ALTER TABLE entry ADD UNIQUE (number, test, listing, account, sender);

ALTER TABLE link ADD COLUMN expires_at bigint;

ALTER TABLE link ADD COLUMN last_click_at bigint;

CREATE INDEX link_message ON link (message);

CREATE TABLE link_ban (
    what text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    PRIMARY KEY (what, name)
);
