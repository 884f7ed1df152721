-- Campaigns; how far each has come is in its row, and moves in the transactions that store its messages.

CREATE TABLE campaign (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account,
    test INTEGER NOT NULL,
    family INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    list INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    sender TEXT,
    category TEXT,
    date INTEGER,
    type TEXT,
    flash INTEGER NOT NULL,
    clean_bounces INTEGER NOT NULL,
    clean_unsubscribers INTEGER NOT NULL,
    keep_list INTEGER NOT NULL,
    external_url TEXT,
    state INTEGER NOT NULL DEFAULT 0,
    route TEXT,
    simulated INTEGER NOT NULL DEFAULT 0,
    validity_ms INTEGER NOT NULL DEFAULT 0,
    link_base TEXT,
    credits INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    ended_at INTEGER,
    cursor INTEGER NOT NULL DEFAULT 0,
    expanded INTEGER NOT NULL DEFAULT 0,
    recipients INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0,
    credits_stored INTEGER NOT NULL DEFAULT 0,
    left_out TEXT NOT NULL DEFAULT '{}',
    first_message INTEGER,
    last_message INTEGER,
    cancelled_to INTEGER,
    cancelled INTEGER NOT NULL DEFAULT 0,
    wake_at INTEGER,
    holder TEXT NOT NULL DEFAULT '',
    held_until INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER
) STRICT;

CREATE INDEX campaign_account ON campaign (account, test, id) WHERE deleted_at IS NULL;

-- Only those with something to do: what the nodes look for each second.
CREATE INDEX campaign_wake ON campaign (wake_at) WHERE wake_at IS NOT NULL;

CREATE INDEX entry_campaign ON entry (account, test, listing, campaign, id) WHERE campaign IS NOT NULL;

CREATE INDEX reply_campaign ON reply (account, test, campaign, id) WHERE campaign IS NOT NULL;
