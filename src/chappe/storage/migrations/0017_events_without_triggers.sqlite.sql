-- What an event is to be told to is written by the statement that stores events, once for all of them
-- (webhooks.sqlite.sql): a trigger ran for each, and was most of what an event cost.
DROP TRIGGER event_for_endpoints;

DROP TRIGGER event_for_customers;
