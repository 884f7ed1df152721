-- In which other forms each connector's receipts have written the ids that its answers gave (core/receipts.py, IdForm).
CREATE TABLE id_form (
    connector TEXT NOT NULL,
    form TEXT NOT NULL,
    receipts INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (connector, form)
) STRICT, WITHOUT ROWID;
