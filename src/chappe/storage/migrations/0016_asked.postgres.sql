-- How far each turn of asking operators about receipts that did not come has got, as for SQLite.
CREATE TABLE asked (
    connector text COLLATE "C" NOT NULL,
    turn smallint NOT NULL,
    through bigint NOT NULL,
    PRIMARY KEY (connector, turn)
) WITH (fillfactor = 50);
