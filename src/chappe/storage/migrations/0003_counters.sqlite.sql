-- Counters. Transactions append what they add to counter_delta, and the sweep rolls it up into the other two: so the
-- cost of a fact is a row at the end of a table, the same however much was counted before. What is counted, and what a
-- day is: core/counts.py. A name is empty where the message has none.

CREATE TABLE counter_delta (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    test INTEGER NOT NULL,
    family INTEGER NOT NULL,
    category TEXT NOT NULL,
    campaign TEXT NOT NULL,
    day INTEGER NOT NULL,
    what INTEGER NOT NULL,
    n INTEGER NOT NULL
) STRICT;

CREATE INDEX counter_delta_account ON counter_delta (account, test);

CREATE TABLE counter (
    account INTEGER NOT NULL,
    test INTEGER NOT NULL,
    family INTEGER NOT NULL,
    category TEXT NOT NULL,
    campaign TEXT NOT NULL,
    day INTEGER NOT NULL,
    what INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (account, test, day, family, category, campaign, what)
) STRICT, WITHOUT ROWID;

-- The same for all days, of an account (scope 0), a category (1) or a campaign (2): reading one is a few rows side by
-- side, however many days and names there are.
CREATE TABLE counter_total (
    account INTEGER NOT NULL,
    test INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    name TEXT NOT NULL,
    what INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (account, test, scope, name, what)
) STRICT, WITHOUT ROWID;
