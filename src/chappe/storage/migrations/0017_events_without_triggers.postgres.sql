-- PostgreSQL never had the triggers that SQLite loses; a step that does nothing has to say something.
SELECT 1;
