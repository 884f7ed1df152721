-- In which other forms each connector's receipts have written the ids that its answers gave (core/receipts.py, IdForm).
CREATE TABLE id_form (
    connector text COLLATE "C" NOT NULL,
    form text COLLATE "C" NOT NULL,
    receipts bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (connector, form)
);
