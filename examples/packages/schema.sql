-- What the application keeps, its queue, and who may do what.
CREATE TABLE package (
	name text,
	architecture text,
	version text NOT NULL,
	PRIMARY KEY (name, architecture)
);

-- No unique constraint: that each job has exactly one result is the queue's promise, not the table's.
CREATE TABLE inspection (
	job bigint NOT NULL,
	attempt int NOT NULL,
	worker text NOT NULL,
	package text NOT NULL,
	files int NOT NULL,
	bytes bigint NOT NULL,
	missing int NOT NULL,
	changed int NOT NULL,
	inspected_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A worker that is killed costs its jobs five seconds; one that fails, half a second and then longer.
SELECT onceq.create_queue('inspections', lease => '5 s', backoff_base => '0.5 s');

CREATE ROLE registrar LOGIN;
GRANT SELECT, INSERT ON package TO registrar;
SELECT onceq.grant_producer('inspections', 'registrar');

CREATE ROLE inspector LOGIN;
GRANT INSERT ON inspection TO inspector;
SELECT onceq.grant_consumer('inspections', 'inspector');
