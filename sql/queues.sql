-- Queues are made, changed, paused and shown as their options say; what is out of range, or done by
-- somebody who may not, is refused; what a transaction that aborts has made is gone.
CREATE ROLE regress_queues_admin IN ROLE onceq_admin;
CREATE ROLE regress_queues_operator IN ROLE onceq_operator;
CREATE ROLE regress_queues_monitor IN ROLE pg_monitor;
CREATE ROLE regress_queues_app;

-- ---- a queue with the options it was given, and defaults for the others

SELECT onceq.create_queue('mail', lease => '45 s', max_attempts => 3, backoff_factor => 1.5, retention => '0');
SELECT queue, lease, max_attempts, backoff_base, backoff_factor, backoff_max, backoff_jitter, retention,
	segment_age, paused, created_at <= clock_timestamp() AS created
FROM onceq.queues WHERE queue = 'mail';

-- its tables belong to onceq_owner, who cannot log in, and not to the extension
SELECT count(*) AS relations, bool_and(c.relowner = 'onceq_owner'::regrole) AS owned,
	bool_and(d.objid IS NULL) AS survives_pg_dump
FROM onceq.queues q
JOIN pg_class c ON c.relkind = 'r' AND c.relnamespace = 'onceq_data'::regnamespace
	AND (c.oid = q.privileges OR c.relname ~ ('^[jor]' || ltrim(q.privileges::text, 'onceq_data.q') || '_0000$'))
LEFT JOIN pg_depend d ON d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass
WHERE q.queue = 'mail';

-- ---- options change one by one; those that are not named stay

SELECT onceq.alter_queue('mail', max_attempts => 5);
SELECT onceq.alter_queue('mail', lease => '12 h', backoff_jitter => 0, segment_age => '1 s');
SELECT onceq.alter_queue('mail');
SELECT lease, max_attempts, backoff_factor, backoff_jitter, retention, segment_age FROM onceq.queues WHERE queue = 'mail';

-- ---- limits and the like: none unless given; 0 or '' takes one away

SELECT soft_time_limit, hard_time_limit, on_dead_key, max_running, max_running_per_key, rate_limit, rate_period, rate_burst, durable_leases,
	priority_ageing, dead_letter_queue, archive_to FROM onceq.queues WHERE queue = 'mail';
SELECT onceq.alter_queue('mail', soft_time_limit => '1 min', hard_time_limit => '2 min', on_dead_key => 'continue', max_running => 10,
	max_running_per_key => 2, rate_limit => 100, rate_period => '1 min', rate_burst => 20, durable_leases => true, priority_ageing => '1 h',
	dead_letter_queue => 'mail.dead', archive_to => 'public.old_mail');
SELECT soft_time_limit, hard_time_limit, on_dead_key, max_running, max_running_per_key, rate_limit, rate_period, rate_burst, durable_leases,
	priority_ageing, dead_letter_queue, archive_to FROM onceq.queues WHERE queue = 'mail';
SELECT onceq.alter_queue('mail', soft_time_limit => '0', hard_time_limit => '0', on_dead_key => 'block', max_running => 0, max_running_per_key => 0,
	rate_limit => 0, rate_burst => 0, durable_leases => false, priority_ageing => '0', dead_letter_queue => '', archive_to => '');
SELECT soft_time_limit, hard_time_limit, on_dead_key, max_running, max_running_per_key, rate_limit, rate_period, rate_burst, durable_leases,
	priority_ageing, dead_letter_queue, archive_to FROM onceq.queues WHERE queue = 'mail';

-- ---- paused, resumed, each twice

SELECT onceq.pause_queue('mail'), onceq.pause_queue('mail');
SELECT paused FROM onceq.queues WHERE queue = 'mail';
SELECT onceq.resume_queue('mail'), onceq.resume_queue('mail');
SELECT paused FROM onceq.queues WHERE queue = 'mail';

-- ---- names

SELECT onceq.create_queue('mail');
SELECT onceq.create_queue('mail', if_not_exists => true);
SELECT onceq.create_queue('Mail');
SELECT onceq.pause_queue('none');
\set VERBOSITY sqlstate
SELECT onceq.create_queue('');
SELECT onceq.create_queue('1st');
SELECT onceq.create_queue('.hidden');
SELECT onceq.create_queue('mail''; DROP TABLE onceq.queue; --');
SELECT onceq.create_queue('mäil');
SELECT onceq.create_queue(repeat('a', 64));
SELECT onceq.create_queue(NULL);
SELECT onceq.alter_queue('Mail', max_attempts => 1);
SELECT onceq.alter_queue(repeat('x', 100000), max_attempts => 1);
SELECT onceq.alter_queue(NULL);
SELECT onceq.pause_queue(NULL);
SELECT onceq.resume_queue('');
\set VERBOSITY default
SELECT onceq.create_queue(repeat('a', 63)), onceq.create_queue('a_1.b-2');
SELECT count(*) FROM onceq.queues WHERE queue IN (repeat('a', 63), 'a_1.b-2');

-- ---- ranges: bounds are accepted, and nothing beyond

SELECT onceq.create_queue('bounds', '100 ms', 1, '0', 1, '0', 0, '0', '1 s');
SELECT onceq.alter_queue('bounds', '12 h', 1000, '366 days', 100, '366 days', 1, '36600 days', '3660 days');
SELECT onceq.alter_queue('bounds', lease => '99 ms');
SELECT onceq.alter_queue('bounds', max_attempts => 1001);
\set VERBOSITY sqlstate
SELECT onceq.alter_queue('bounds', lease => '12 h 1 us');
SELECT onceq.alter_queue('bounds', lease => '-30 s');
SELECT onceq.alter_queue('bounds', lease => '178000000 years');
SELECT onceq.alter_queue('bounds', max_attempts => 0);
SELECT onceq.alter_queue('bounds', backoff_base => '-1 us');
SELECT onceq.alter_queue('bounds', backoff_base => '367 days');
SELECT onceq.alter_queue('bounds', backoff_factor => 0.99);
SELECT onceq.alter_queue('bounds', backoff_factor => 100.1);
SELECT onceq.alter_queue('bounds', backoff_factor => 'NaN');
SELECT onceq.alter_queue('bounds', backoff_factor => 'infinity');
SELECT onceq.alter_queue('bounds', backoff_max => '367 days');
SELECT onceq.alter_queue('bounds', backoff_jitter => -0.1);
SELECT onceq.alter_queue('bounds', backoff_jitter => 1.1);
SELECT onceq.alter_queue('bounds', retention => '-1 s');
SELECT onceq.alter_queue('bounds', retention => '36601 days');
SELECT onceq.alter_queue('bounds', segment_age => '999 ms');
SELECT onceq.alter_queue('bounds', segment_age => '3661 days');
SELECT onceq.create_queue('null', lease => NULL);
SELECT onceq.create_queue('null', segment_age => NULL);
SELECT onceq.create_queue('null', if_not_exists => NULL);
\set VERBOSITY default

-- ---- what aborts leaves nothing, in a savepoint too

BEGIN;
SELECT onceq.create_queue('fleeting');
SAVEPOINT before;
SELECT onceq.alter_queue('fleeting', max_attempts => 7), onceq.alter_queue('mail', max_attempts => 7),
	onceq.create_queue('more.fleeting');
SELECT queue, max_attempts FROM onceq.queues WHERE queue IN ('fleeting', 'mail', 'more.fleeting') ORDER BY 1;
ROLLBACK TO before;
SELECT queue, max_attempts FROM onceq.queues WHERE queue IN ('fleeting', 'mail', 'more.fleeting') ORDER BY 1;
SELECT onceq.pause_queue('more.fleeting');
ROLLBACK;
SELECT onceq.pause_queue('fleeting');
SELECT count(*) AS strays FROM pg_class c
WHERE relnamespace = 'onceq_data'::regnamespace AND relname ~ '^q'
AND NOT EXISTS (SELECT FROM onceq.queue q WHERE c.relname = 'q' || q.id);

-- ---- where nothing can be written

BEGIN READ ONLY;
SELECT onceq.create_queue('readonly');
ROLLBACK;

-- ---- roles: administrators do all, operators pause and resume, the others nothing

SET ROLE regress_queues_admin;
SELECT onceq.create_queue('by.admin'), onceq.alter_queue('mail', max_attempts => 9);
SELECT onceq.pause_queue('by.admin'), onceq.resume_queue('by.admin');
SELECT count(*) >= 4 AS sees_all FROM onceq.queues;
SET ROLE regress_queues_operator;
SELECT onceq.pause_queue('by.admin'), onceq.resume_queue('by.admin');
SELECT count(*) >= 4 AS sees_all FROM onceq.queues;
SELECT onceq.create_queue('by.operator');
\set VERBOSITY sqlstate
SELECT onceq.alter_queue('mail', max_attempts => 1);
SELECT onceq.adopt();
SELECT onceq.grant_producer('mail', 'regress_queues_operator');
SELECT onceq.grant_consumer('mail', 'regress_queues_operator');
\set VERBOSITY default
SET ROLE regress_queues_monitor;
SELECT count(*) >= 4 AS sees_all FROM onceq.queues;
SELECT onceq.pause_queue('mail');
SET ROLE regress_queues_app;
SELECT count(*) AS sees FROM onceq.queues;
\set VERBOSITY sqlstate
SELECT onceq.create_queue('by.app');
SELECT onceq.alter_queue('mail', max_attempts => 1);
SELECT onceq.pause_queue('mail');
SELECT onceq.adopt();
-- tables are out of reach
SELECT count(*) FROM onceq.queue;
SELECT count(*) FROM onceq.id_ceiling;
SELECT count(*) FROM onceq.segment;
SELECT count(*) FROM onceq.installation;
SELECT count(*) FROM onceq.lease_journal;
SELECT count(*) FROM onceq_data.q1;
CREATE TABLE onceq_data.mine ();
CREATE TABLE onceq.mine ();
RESET ROLE;
\set VERBOSITY default

-- ---- grants are GRANTs on the queue's table, which administrators can revoke

SET ROLE regress_queues_admin;
SELECT onceq.grant_producer('mail', 'regress_queues_app');
SELECT privilege_type FROM onceq.queues, pg_class, aclexplode(relacl)
WHERE queue = 'mail' AND pg_class.oid = privileges AND grantee = 'regress_queues_app'::regrole ORDER BY 1;
SELECT onceq.grant_consumer('mail', 'regress_queues_app');
SELECT privilege_type FROM onceq.queues, pg_class, aclexplode(relacl)
WHERE queue = 'mail' AND pg_class.oid = privileges AND grantee = 'regress_queues_app'::regrole ORDER BY 1;
SET ROLE regress_queues_app;
SELECT queue FROM onceq.queues;
SET ROLE regress_queues_admin;
DO $$
BEGIN
	EXECUTE format('REVOKE ALL ON %s FROM regress_queues_app', (SELECT privileges FROM onceq.queues WHERE queue = 'mail'));
END
$$;
SET ROLE regress_queues_app;
SELECT queue FROM onceq.queues;
RESET ROLE;
SELECT onceq.grant_producer('mail', 'regress_queues_nobody');
\set VERBOSITY sqlstate
SELECT onceq.grant_producer('none', 'regress_queues_app');
SELECT onceq.grant_producer('mail', 'public');
SELECT onceq.grant_producer('mail', NULL);
\set VERBOSITY default

-- ---- adopt() where there is nothing to adopt

SELECT onceq.adopt();

-- ---- a dropped queue is gone from sight at once, and its name is free

BEGIN;
SELECT onceq.drop_queue('bounds'), onceq.create_queue('bounds', max_attempts => 2);
SELECT max_attempts FROM onceq.queues WHERE queue = 'bounds';
ROLLBACK;
SELECT max_attempts FROM onceq.queues WHERE queue = 'bounds';

SELECT onceq.drop_queue(queue) FROM onceq.queues
WHERE queue IN ('mail', 'bounds', 'a_1.b-2', 'by.admin', repeat('a', 63));
SELECT count(*) FROM onceq.queues WHERE queue IN ('mail', 'bounds', 'a_1.b-2', 'by.admin', repeat('a', 63));
DROP ROLE regress_queues_admin, regress_queues_operator, regress_queues_monitor, regress_queues_app;
