-- How far each turn of asking operators about receipts that did not come has got: through the ids of `carrier`.
CREATE TABLE asked (
    connector TEXT NOT NULL,
    turn INTEGER NOT NULL,
    through INTEGER NOT NULL,
    PRIMARY KEY (connector, turn)
) STRICT, WITHOUT ROWID;

-- Parked receipts that say that the person has written STOP (verdict 4): whoever may match one waits for claims first.
CREATE INDEX parked_stop ON parked (id) WHERE verdict = 4;
