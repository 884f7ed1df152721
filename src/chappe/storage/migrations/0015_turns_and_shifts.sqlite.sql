-- Turns of accounts, and the weights that routes were given by what is measured.

-- What is due is found by its account, so that each has its turn. 0: not due yet when it was queued, or queued by an
-- earlier release; the claim that finds it due puts it in its account's lane.
ALTER TABLE queue ADD COLUMN account INTEGER NOT NULL DEFAULT 0;

DROP INDEX queue_due;

CREATE INDEX queue_lane ON queue (route, class, account, due_at);

-- Each move of a route's weights (JSON: connector → weight), the weights that were set then, and the sentence that says why.
CREATE TABLE shift (
    id INTEGER PRIMARY KEY,
    route TEXT NOT NULL,
    at INTEGER NOT NULL,
    set_weights TEXT NOT NULL,
    weights TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT;

CREATE INDEX shift_route ON shift (route, id);
