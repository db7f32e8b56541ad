-- A consumer of the ledger, what its effects are, and a role that may do no more than that.
SELECT onceq.create_consumer('payments', retention => '14 days'); -- the source keeps its events for seven
CREATE TABLE account (name text PRIMARY KEY, balance bigint NOT NULL DEFAULT 0, payments int NOT NULL DEFAULT 0);
-- How far the source was told that we are. Only so that it need not send all of it again: what counts an event
-- once is the ledger.
CREATE TABLE source_offset (partition int PRIMARY KEY, next_offset int NOT NULL);
CREATE ROLE teller LOGIN;
SELECT onceq.grant_marker('payments', 'teller');
GRANT SELECT, INSERT, UPDATE ON account, source_offset TO teller;
