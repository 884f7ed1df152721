-- How far each turn of asking operators about receipts that did not come has got, as for SQLite.
CREATE TABLE asked (
    connector text COLLATE "C" NOT NULL,
    turn smallint NOT NULL,
    through bigint NOT NULL,
    PRIMARY KEY (connector, turn)
) WITH (fillfactor = 50);

-- Parked receipts that say that the person has written STOP (verdict 4): whoever may match one waits for claims first.
CREATE INDEX parked_stop ON parked (id) WHERE verdict = 4;
