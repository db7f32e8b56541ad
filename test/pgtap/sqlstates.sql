-- Clients branch on SQLSTATEs: what each function raises, and the settings one may rely on. (errors.sql of the
-- regression tests goes through bad input of all kinds; these are the codes of the documentation.)
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only true

SELECT plan(127);
SELECT onceq.create_queue('codes', max_attempts => 1);
SELECT count(*) FROM onceq.enqueue_many('codes', '{1,2,3,4,5}');
CREATE ROLE codes_nobody;
CREATE TABLE codes (name text PRIMARY KEY, token bigint, id bigint);
GRANT SELECT ON codes TO PUBLIC;
INSERT INTO codes SELECT 'held', token, id FROM onceq.claim('codes');
INSERT INTO codes SELECT 'ended', token, id FROM onceq.claim('codes');
SELECT onceq.ack(token) FROM codes WHERE name = 'ended';
CREATE FUNCTION t(text) RETURNS bigint LANGUAGE sql AS 'SELECT token FROM codes WHERE name = $1';
CREATE FUNCTION i(text) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM codes WHERE name = $1';

-- ---- 42704, 42710: queues

SELECT throws_ok('SELECT onceq.enqueue(''none'', ''1'')', '42704', 'queue "none" does not exist');
SELECT throws_ok('SELECT onceq.enqueue_many(''none'', ''{1}'')', '42704');
SELECT throws_ok('SELECT * FROM onceq.claim(''none'')', '42704');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{codes,none}'')', '42704', 'queue "none" does not exist');
SELECT throws_ok('SELECT * FROM onceq.ack_and_claim(NULL, ''none'')', '42704');
SELECT throws_ok('SELECT onceq.next_claim_at(''none'')', '42704');
SELECT throws_ok('SELECT onceq.job(''none'', 1)', '42704');
SELECT throws_ok('SELECT onceq.jobs(''none'')', '42704');
SELECT throws_ok('SELECT onceq.job_attempts(''none'', 1)', '42704');
SELECT throws_ok('SELECT onceq.purge_queue(''none'')', '42704');
SELECT throws_ok('SELECT onceq.drop_queue(''none'')', '42704');
SELECT throws_ok('SELECT onceq.cancel(''none'', 1)', '42704');
SELECT throws_ok('SELECT onceq.redrive(''none'')', '42704');
SELECT throws_ok('SELECT onceq.cancel_jobs(''none'')', '42704');
SELECT throws_ok('SELECT onceq.reject_jobs(''none'')', '42704');
SELECT throws_ok('SELECT onceq.reschedule_jobs(''none'')', '42704');
SELECT throws_ok('SELECT onceq.redrive_jobs(''none'')', '42704');
SELECT lives_ok('SELECT onceq.drop_queue(''none'', if_exists => true)', 'but not if it need not exist');
SELECT throws_ok('SELECT onceq.create_queue(''codes'')', '42710', 'queue "codes" already exists');
SELECT lives_ok('SELECT onceq.create_queue(''codes'', if_not_exists => true)', 'but not if it may');
SELECT throws_ok('SELECT onceq.create_queue(''No Name'')', '22023');
SELECT throws_ok('SELECT onceq.grant_producer(''codes'', ''codes_unknown'')', '42704');

-- ---- OQ001: leases

SELECT throws_ok('SELECT onceq.ack(t(''ended''))', 'OQ001', 'the lease is not held');
SELECT throws_ok('SELECT onceq.ack(t(''ended''), i(''ended''))', 'OQ001');
SELECT throws_ok('SELECT onceq.ack(t(''ended''), ARRAY[i(''ended'')])', 'OQ001');
SELECT throws_ok('SELECT onceq.nack(t(''ended''), i(''ended''))', 'OQ001');
SELECT throws_ok('SELECT onceq.reject(t(''ended''), i(''ended''))', 'OQ001');
SELECT throws_ok('SELECT onceq.release(t(''ended''))', 'OQ001');
SELECT throws_ok('SELECT onceq.extend(t(''ended''))', 'OQ001');
SELECT throws_ok('SELECT onceq.progress(t(''ended''), i(''ended''), 1)', 'OQ001');
SELECT throws_ok('SELECT * FROM onceq.ack_and_claim(t(''ended''), ''codes'')', 'OQ001');
SELECT throws_ok('SELECT onceq.ack(t(''held''), i(''ended''))', 'OQ001', NULL, 'a job of another lease');
SELECT throws_ok('SELECT onceq.cancelled(t(''ended''))', 'OQ001');
SELECT throws_ok('SELECT onceq.ack(0)', 'OQ001');

-- ---- 22004, 22023, 54000, 2202E: arguments

SELECT throws_ok('SELECT onceq.enqueue(NULL, ''1'')', '22004');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', NULL)', '22004');
SELECT throws_ok('SELECT onceq.enqueue_many(''codes'', ARRAY[NULL]::jsonb[])', '22004');
SELECT throws_ok('SELECT onceq.ack(NULL::bigint)', '22004');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', priority => 10)', '22023', 'priority is out of range');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', run_at => now(), delay => ''1 s'')', '22023', 'run_at and delay cannot both be given');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', delay => ''367 days'')', '22023', 'delay is out of range');
SELECT throws_ok('SELECT onceq.progress(t(''held''), i(''held''), -1)', '22023', 'current is out of range');
SELECT throws_ok('SELECT * FROM onceq.claim(''codes'', 1001)', '22023', 'count is out of range');
SELECT throws_ok('SELECT * FROM onceq.claim(''codes'', lease => ''1 ms'')', '22023', 'lease is out of range');
SELECT throws_ok('SELECT * FROM onceq.claim(''codes'', hold => ''x'')', '22023');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{}'')', '22023', 'number of queues is out of range');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{codes,codes}'')', '22023', 'queue "codes" is given more than once');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{codes}'', ''{0}'')', '22023', 'a weight is out of range');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{{codes}}'')', '2202E', 'queues must be one-dimensional');
SELECT throws_ok('SELECT onceq.nack(t(''held''), i(''held''), retry_in => ''-1 s'')', '22023', 'retry_in is out of range');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', to_jsonb(repeat(''x'', 300000)))', '54000', 'payload is too large');
SELECT throws_ok('SELECT onceq.enqueue_many(''codes'', array_fill(''1''::jsonb, ARRAY[10001]))', '54000', 'too many jobs in one call');
SELECT throws_ok('SELECT onceq.enqueue_many(''codes'', array_fill(''1''::jsonb, ARRAY[1, 1]))', '2202E');

SELECT throws_ok('SELECT onceq.cancel_jobs(''codes'', ''dead'')', '22023', 'state "dead" cannot be chosen here');
SELECT throws_ok('SELECT onceq.reject_jobs(''codes'', state => ''running'')', '22023', 'state "running" cannot be chosen here');
SELECT throws_ok('SELECT onceq.reschedule_jobs(''codes'', ''infinity'')', '22023', 'run_at is out of range');
SELECT throws_ok('SELECT onceq.cancel_jobs(''codes'', count => 10001)', '22023', 'count is out of range');
SELECT throws_ok('SELECT onceq.cancel_jobs(''codes'', ids => ''{NULL}'')', '22004');
SELECT throws_ok('SELECT onceq.cancel_jobs(''codes'', ids => array_fill(1::bigint, ARRAY[10001]))', '54000', 'too many ids in one call');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', unique_key => '''')', '22023', 'unique_key is too short or too long');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', unique_key => repeat(''x'', 513))', '22023');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', unique_key => ''k'', unique_mode => ''x'')', '22023');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', unique_key => ''k'', unique_mode => NULL)', '22004');
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'', unique_key => ''k'', unique_for => ''367 days'')', '22023');
SELECT throws_ok('SELECT onceq.find_unique(''codes'', NULL)', '22004');
SELECT throws_ok('SELECT onceq.find_unique(''none'', ''k'')', '42704');

-- ---- 0A000, 25006: places

SELECT throws_ok('SELECT onceq.claim(''codes'')', '0A000');
SELECT throws_ok('SELECT (onceq.claim(''codes'')).*', '0A000');
SELECT throws_ok('SELECT onceq.claim_any(''{codes}'')', '0A000');
SELECT throws_ok('SELECT onceq.ack_and_claim(NULL, ''codes'')', '0A000');
SET default_transaction_read_only = on;
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'')', '25006');
SELECT throws_ok('SELECT onceq.ack(t(''held''))', '25006');
SELECT throws_ok('SELECT onceq.cancel(''codes'', 1)', '25006');
SELECT throws_ok('SELECT onceq.redrive(''codes'')', '25006');
SELECT throws_ok('SELECT onceq.cancel_jobs(''codes'')', '25006');
SELECT throws_ok('SELECT onceq.reject_jobs(''codes'')', '25006');
SELECT throws_ok('SELECT onceq.reschedule_jobs(''codes'')', '25006');
SELECT throws_ok('SELECT onceq.redrive_jobs(''codes'')', '25006');
RESET default_transaction_read_only;

-- ---- 42501: privileges

SET ROLE codes_nobody;
SELECT throws_ok('SELECT onceq.enqueue(''codes'', ''1'')', '42501', 'permission denied for queue "codes"');
SELECT throws_ok('SELECT * FROM onceq.claim(''codes'')', '42501');
SELECT throws_ok('SELECT * FROM onceq.claim_any(''{codes}'')', '42501');
SELECT throws_ok('SELECT onceq.find_unique(''codes'', ''k'')', '42501');
SELECT throws_ok('SELECT onceq.jobs(''codes'')', '42501');
SELECT throws_ok('SELECT onceq.job_attempts(''codes'', 1)', '42501');
SELECT throws_ok('SELECT onceq.ack(t(''held''))', '42501', 'the lease was granted to another role');
SELECT throws_ok('SELECT onceq.create_queue(''codes.new'')', '42501', 'permission denied to create a queue');
SELECT throws_ok('CALL onceq.recover()', '42501');
SELECT throws_ok('SELECT onceq.cancel(''codes'', 1)', '42501');
SELECT throws_ok('SELECT onceq.redrive(''codes'')', '42501', 'permission denied to redrive dead jobs');
SELECT throws_ok('SELECT onceq.redrive(''codes'', NULL, 10001)', '42501', NULL, 'who may not is told nothing else');
SELECT throws_ok('SELECT onceq.cancel_jobs(''codes'')', '42501');
SELECT throws_ok('SELECT onceq.reject_jobs(''codes'')', '42501');
SELECT throws_ok('SELECT onceq.reschedule_jobs(''codes'')', '42501');
SELECT throws_ok('SELECT onceq.redrive_jobs(''codes'')', '42501', 'permission denied to redrive dead jobs');
SELECT throws_ok('SELECT onceq.cancelled(t(''held''))', '42501');
RESET ROLE;

-- ---- the ledger

SELECT onceq.create_consumer('codes');
SELECT throws_ok('SELECT onceq.create_consumer(''codes'')', '42710', 'consumer "codes" already exists');
SELECT throws_ok('SELECT onceq.create_consumer(''new'', retention => ''1 s'')', '22023', 'retention is out of range');
SELECT throws_ok('SELECT onceq.once(''none'', ''1'')', '42704', 'consumer "none" does not exist');
SELECT throws_ok('SELECT onceq.once(''codes'', '''')', '22023', 'event_id is out of range');
SELECT throws_ok('SELECT onceq.once_many(''codes'', array_fill(''1''::text, ARRAY[10001]))', '54000', 'too many events in one call');
SELECT throws_ok('SELECT onceq.ack_once(t(''ended''), i(''ended''), ''codes'', ''1'')', 'OQ001', 'the lease is not held');
SET ROLE codes_nobody;
SELECT throws_ok('SELECT onceq.once(''codes'', ''1'')', '42501', 'permission denied for consumer "codes"');
SELECT throws_ok('SELECT onceq.create_consumer(''new'')', '42501', 'permission denied to create a consumer');
RESET ROLE;
SELECT is(onceq.once('codes', '1'), true, 'no event was marked');

-- ---- nothing of this did anything

SELECT is((SELECT onceq.ack(t('held'))), 1::bigint, 'the lease is held as before');
SELECT is((SELECT count(*) FROM onceq.claim('codes', 10)), 3::bigint, 'the jobs are there as before');

-- ---- archive policies

SELECT throws_ok('SELECT onceq.set_archive_policy(''codes'', ''name'', ''1 day'')', '42804');
SELECT throws_ok('SELECT onceq.set_archive_policy(''codes'', ''none'', ''1 day'')', '42703');
SELECT throws_ok('SELECT onceq.drop_archive_policy(''codes'')', '42704');
SELECT throws_ok('CALL onceq.archive()', '25001');
SELECT throws_ok('SELECT onceq.alter_queue(''codes'', archive_to => ''old_jobs'')', '22023', 'archive_to names no schema');
SELECT throws_ok(format('SELECT onceq.%s', call), state) FROM (VALUES ('none.old_jobs', '3F000'), ('db.public.old_jobs', '0A000'),
	('a.b.c.d', '42601'), ('public.', '42602')) names(name, state), LATERAL (VALUES (format('create_queue(''archived'', archive_to => %L)', name)),
	(format('alter_queue(''codes'', archive_to => %L)', name)), (format('set_archive_policy(''codes'', ''at'', ''1 day'', archive_to => %L)', name))) calls(call);

-- ---- 54000: attempts have an end, whatever max_attempts says

SELECT onceq.create_queue('often', max_attempts => 1000);
SELECT onceq.enqueue('often', '1');
CREATE PROCEDURE fail_for_ever() LANGUAGE plpgsql AS $$
DECLARE
	held record;
BEGIN
	LOOP
		SELECT token, id INTO held FROM onceq.claim('often');
		COMMIT;
		EXIT WHEN held.token IS NULL AND onceq.redrive('often') = 0;
		PERFORM onceq.nack(held.token, held.id, retry_in => '0') WHERE held.token IS NOT NULL;
		COMMIT;
	END LOOP;
END $$;
CALL fail_for_ever();
SELECT is((SELECT attempt FROM onceq.jobs('often')), 4095, 'so often it was tried');
SELECT throws_ok('SELECT onceq.redrive(''often'', id) FROM onceq.jobs(''often'')', '54000');

-- ---- settings: names, who may set them, defaults

SELECT set_eq($$ SELECT name, context, boot_val, coalesce(unit, '') FROM pg_settings WHERE name LIKE 'onceq.%' AND name <> 'onceq.fault' $$,
	$$ VALUES ('onceq.archive_batches_per_second', 'sighup', '20', ''), ('onceq.archive_interval', 'sighup', '60', 's'), ('onceq.audit_interval', 'sighup', '3600', 's'), ('onceq.lease_journal_after', 'sighup', '2000', 'ms'), ('onceq.lease_slots', 'postmaster', '65536', ''), ('onceq.max_databases', 'postmaster', '64', ''),
		('onceq.max_queues', 'postmaster', '1024', ''), ('onceq.payload_max', 'superuser', '256', 'kB'), ('onceq.progress_slots', 'postmaster', '16384', ''), ('onceq.queue_lease_share', 'sighup', '50', ''), ('onceq.restart_spread', 'sighup', '5000', 'ms'), ('onceq.segment_wait', 'user', '10000', 'ms'),
		('onceq.state_memory', 'postmaster', '65536', 'kB'), ('onceq.suspicion_window', 'sighup', '900', 's'), ('onceq.worker_naptime', 'sighup', '1000', 'ms'), ('onceq.worker_passive', 'superuser', 'off', '') $$, 'settings');
SELECT throws_ok('SET onceq.no_such_setting = 1', '42602', NULL, 'others are not taken for ours');

SELECT * FROM finish();
DROP OWNED BY codes_nobody;
DROP ROLE codes_nobody;
