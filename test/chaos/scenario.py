"""What is set up: queues of several kinds, and settings of servers."""
from dataclasses import dataclass

DAYS = "7 days"
# By which a job is known: what its payload says, and for the copy of a dead job the attempts that it had.
KEY = "concat(payload->>'k', '#' || (headers->'onceq.dead_letter'->>'attempts'))"


@dataclass(frozen=True)
class Queue:
    name: str
    lease: float = 2.0      # s
    max_attempts: int = 1000
    backoff_base: float = 0
    backoff_max: float = 0.2
    backoff_jitter: float = 0.1
    retention: str = DAYS   # else rows go, and final states cannot be read
    segment_age: str = "1 day"
    size: tuple = (0, 200)  # bytes of payload
    batch: int = 300        # jobs enqueued at once, at most
    delay: float = 0        # s, at most
    retry_in: float = 0.3   # s, at most; for nack
    hold: str = "time"
    keys: int = 0           # ordering keys
    on_dead_key: str = "block"
    unique: int = 0         # unique keys
    max_running: int = 0    # 0: no limit
    max_running_per_key: int = 0
    durable: bool = False   # leases
    dead_letter_queue: str = ""
    soft_time_limit: float = 0  # s
    hard_time_limit: float = 0  # s
    rate_limit: int = 0     # jobs in each rate_period
    rate_period: float = 1  # s
    rate_burst: int = 0
    produce: float = 1      # share of the producers' time
    consume: float = 1

    @property
    def retained(self):
        return self.retention == DAYS

    @property
    def mortal(self):
        """Has many dead jobs, or such as hold up others."""
        return self.max_attempts < 10 or self.keys

    def create(self):
        return (f"SELECT onceq.create_queue('{self.name}', lease => '{self.lease} s',"
                f" max_attempts => {self.max_attempts}, backoff_base => '{self.backoff_base} s',"
                f" backoff_max => '{self.backoff_max} s', backoff_jitter => {self.backoff_jitter},"
                f" retention => '{self.retention}', segment_age => '{self.segment_age}',"
                f" on_dead_key => '{self.on_dead_key}', max_running => {self.max_running or 'NULL'},"
                f" max_running_per_key => {self.max_running_per_key or 'NULL'}, durable_leases => {self.durable},"
                f" dead_letter_queue => NULLIF('{self.dead_letter_queue}', ''),"
                f" soft_time_limit => make_interval(secs => {self.soft_time_limit or 'NULL'}),"
                f" hard_time_limit => make_interval(secs => {self.hard_time_limit or 'NULL'}){self.rate()})")

    def rate(self):
        return (f", rate_limit => {self.rate_limit}, rate_period => '{self.rate_period} s', rate_burst => {self.rate_burst}"
                if self.rate_limit else "")

    def describe(self):
        return {"retained": self.retained, "max_attempts": self.max_attempts, "backoff_max": self.backoff_max,
                "backoff_jitter": self.backoff_jitter, "on_dead_key": self.on_dead_key,
                "max_running": self.max_running, "max_running_per_key": self.max_running_per_key, "durable": self.durable,
                "dead_letter_queue": self.dead_letter_queue, "hard_time_limit": self.hard_time_limit,
                "soft_time_limit": self.soft_time_limit,
                "rate_limit": self.rate_limit, "rate_period": self.rate_period, "rate_burst": self.rate_burst}


QUEUES = {queue.name: queue for queue in (
    Queue("plain", produce=3, consume=3),
    Queue("delayed", delay=1.5, retry_in=1, batch=60),
    Queue("tiny", lease=0.3, batch=60),
    Queue("session", hold="session", batch=60),
    Queue("large", size=(2_000, 150_000), batch=4, produce=0.5, consume=0.5),
    Queue("few", max_attempts=3, backoff_base=0.02, batch=40),
    Queue("short", segment_age="1 s", retention="0 s", batch=100),
    Queue("purged", batch=60, produce=0.5, consume=0.5),
    Queue("keyed", lease=0.5, delay=0.3, batch=20, keys=8, produce=1.5, consume=2),
    Queue("onward", lease=0.5, max_attempts=2, backoff_base=0.02, batch=20, keys=8,
          on_dead_key="continue", consume=1.5),
    Queue("limited", lease=0.4, batch=10, keys=3, on_dead_key="continue", max_running=5, max_running_per_key=2,
          consume=1.5),
    Queue("durable", durable=True, batch=60),
    Queue("letters", produce=0),
    Queue("hard", soft_time_limit=0.2, hard_time_limit=0.4, batch=60),
    Queue("rated", rate_limit=20, rate_period=0.5, rate_burst=10, batch=30, consume=1.5),
    Queue("fatal", lease=0.5, max_attempts=1, backoff_base=0.02, batch=20, dead_letter_queue="letters"),
    Queue("unique", lease=0.5, max_attempts=3, backoff_base=0.02, delay=0.4, batch=10, unique=10, produce=1.5, consume=1.5),
)}

# Settings of the run's servers. The first kind is nearest to life; the others make rare things common.
COMMON = {
    "max_connections": 80,
    "shared_buffers": "'64MB'",
    "log_line_prefix": "'%m [%p] %b %e '",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_autovacuum_min_duration": -1,
    "statement_timeout": "'30s'",
    "wal_writer_delay": "'100ms'",
    "autovacuum_naptime": "'5s'",
}
KINDS = {
    "life": {},
    "hasty": {"onceq.suspicion_window": 0, "onceq.lease_journal_after": "'100ms'",
              "onceq.worker_naptime": "'50ms'"},
    "small": {"onceq.lease_slots": 64, "onceq.state_memory": "'256kB'", "onceq.suspicion_window": 0},
    "journal": {"onceq.lease_journal_after": 0, "onceq.worker_naptime": "'100ms'"},
}
SMALL_DISKS = {"max_wal_size": "'128MB'", "min_wal_size": "'32MB'", "wal_recycle": "off"}

SCHEMA = """
CREATE EXTENSION onceq;
CREATE ROLE chaos LOGIN;
GRANT onceq_operator TO chaos;
CREATE SCHEMA chaos AUTHORIZATION chaos;
CREATE TABLE chaos.mark (client text NOT NULL, tx int NOT NULL);
CREATE TABLE chaos.effect (queue text NOT NULL, job bigint NOT NULL, token bigint NOT NULL, client text NOT NULL,
    tx int NOT NULL);
CREATE TABLE chaos.added (count int NOT NULL);
CREATE TABLE chaos.processed (consumer text NOT NULL, event text NOT NULL, client text NOT NULL, tx int NOT NULL);
GRANT ALL ON chaos.mark, chaos.effect, chaos.added, chaos.processed TO chaos;
SELECT onceq.create_consumer('billing'), onceq.grant_marker('billing', 'chaos');
"""


def set_up(connection):
    connection.query(SCHEMA)
    for queue in QUEUES.values():
        connection.query(queue.create())
        connection.query(f"SELECT onceq.grant_producer('{queue.name}', 'chaos'),"
                         f" onceq.grant_consumer('{queue.name}', 'chaos')")
    # So that soon a transaction, and then a claim, spans two segments: numbering goes on at the ceiling.
    connection.query("UPDATE onceq.id_ceiling c SET ceiling = (1 << 20) - 900 FROM onceq.queue q"
                     " WHERE q.id = queue_id AND name IN ('plain', 'tiny')")
    for (anchor,) in connection.query("SELECT privileges FROM onceq.queues"):
        connection.query(f"GRANT TRUNCATE ON {anchor} TO chaos")  # to cancel and purge
