-- Connectors while servers run, as for SQLite.

CREATE TABLE steered (
    connector text COLLATE "C" PRIMARY KEY,
    told text NOT NULL,
    since bigint NOT NULL
);

CREATE TABLE shown (
    connector text COLLATE "C" PRIMARY KEY,
    node text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    figures text NOT NULL
) WITH (fillfactor = 50);
