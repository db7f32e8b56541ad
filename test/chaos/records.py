"""What a history consists of: statements, stops of the server, transactions, jobs, leases with their deliveries and ends.

All times are those of one monotonic clock, in seconds; FOREVER stands for what never returned.
"""
from dataclasses import dataclass, field

FOREVER = float("inf")
SERVER = "onceq"  # the client of what no client did
TERMINAL = ("succeeded", "dead", "cancelled")
ENDS = ("ack", "nack", "reject", "release")
ORDERS = ("cancel", "redrive")
AT_ONCE = ("release", "extend", "progress")  # they stay, whatever becomes of the transaction

# What may end a hold, the best explanation first. The counted ones are failed attempts.
CAUSES = ("ack", "reject", "nack", "release", "rollback", "session", "crash", "restart", "expiry", "limit")
COUNTED = {"nack", "rollback", "session", "expiry", "limit"}


@dataclass(slots=True, eq=False)
class Operation:
    """One statement of a client. See README.md for what the fields mean."""
    client: str
    n: int
    op: str
    t_invoke: float
    session: int = 0
    tx: int | None = None
    auto: bool = False  # a transaction of its own
    t_return: float = FOREVER
    outcome: str = "unknown"
    sqlstate: str | None = None
    lost: bool = False  # the connection went with it
    queue: str | None = None
    queues: list = field(default_factory=list)  # of a claim over several; queue is the one it took jobs from
    weights: list = field(default_factory=list)
    token: int | None = None
    jobs: list = field(default_factory=list)
    ids: list = field(default_factory=list)
    count: int = 0
    lease: float = 0
    wait: float = 0
    hold: str = "time"
    delay: float = 0
    priority: int = 0
    max_attempts: int = 0  # 0: the queue's
    ordering: str | None = None
    unique: str | None = None
    mode: str = "skip"
    unique_for: float = 0
    isolation: str = "read committed"
    sync: bool = True
    mark: bool = False
    effects: bool = False
    whole: bool = False  # all of the lease, whatever that is by now
    due: float | None = None  # monotonic
    dead: bool = False
    retry_in: float | None = None
    since: int = 0
    undone: float | None = None  # from when on, by a savepoint
    consumer: str | None = None  # of the ledger
    events: list = field(default_factory=list)
    new: list = field(default_factory=list)  # of each of them, whether it was
    value: int | None = None  # progress
    soft: list = field(default_factory=list)  # jobs whose soft time limit has passed, as the holder is told
    cancelled: list = field(default_factory=list)  # and those that were cancelled

    @property
    def name(self):
        return f"{self.client}.{self.n}"

    @property
    def asked(self):
        """The queues of a claim."""
        return self.queues or [self.queue]

    @property
    def refused(self):
        """It has done nothing. What works at once may have worked before its statement was cancelled."""
        return self.outcome == "fail" and (self.op not in AT_ONCE or self.sqlstate == "OQ001")


FIELDS = frozenset(Operation.__slots__)


@dataclass(slots=True, eq=False)
class Stop:
    """The server lost its memory at some moment in between."""
    begin: float
    end: float
    kind: str  # crash, restart
    lossy_since: float | None  # a standby took over, or a dump, and it may lack commits from then on
    moved: bool = False        # a dump did, and there are no leases in it


@dataclass(slots=True, eq=False)
class Transaction:
    client: str
    number: int
    operations: list = field(default_factory=list)
    ending: Operation | None = None  # commit, rollback, or the statement itself
    marked: bool = False
    sync: bool = True
    status: str = "aborted"  # committed, aborted, unknown
    lost_at: float | None = None  # it was committed, perhaps, and taken away by a crash until then
    begin: float = FOREVER   # it took effect at this time or later,
    end: float = FOREVER     # and at this time or before
    aborted_from: float = FOREVER  # if it was rolled back: then or later


@dataclass(slots=True, eq=False)
class Job:
    queue: str
    key: str
    hash: str
    operation: Operation
    id: int | None = None
    status: str = "unknown"  # of its enqueue, as of a transaction; lost: the copy of a dead job, taken away
    deliveries: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    cancels: list = field(default_factory=list)   # as ends are
    revivals: list = field(default_factory=list)  # too
    asked: list = field(default_factory=list)     # cancel and redrive, whatever came of them

    @property
    def name(self):
        return f"{self.queue}/{self.id} ({self.key})"


@dataclass(slots=True, eq=False)
class End:
    kind: str
    operation: Operation
    status: str
    begin: float
    end: float
    dead: bool
    gone: float | None = None  # until when it was an end: for ever, till a crash took it away, or never

    @property
    def is_final(self):
        return self.kind in ("ack", "reject") or self.dead


@dataclass(slots=True, eq=False)
class Lease:
    token: int
    operation: Operation  # the claim
    status: str           # of the claim's transaction
    extensions: list = field(default_factory=list)
    deadline_high: float = FOREVER
    causes: list = field(default_factory=list)  # (from, cause): what may end all of it


@dataclass(slots=True, eq=False)
class Delivery:
    job: Job
    lease: Lease
    attempt: int
    hash: str
    key: str
    ends: list = field(default_factory=list)

    @property
    def begin(self):
        return self.lease.operation.t_invoke

    @property
    def end(self):
        return self.lease.operation.t_return

    @property
    def name(self):
        return f"attempt {self.attempt} by {self.lease.operation.name}"


def causes_of(delivery):
    """All that may have ended this hold of the job, as (earliest time, cause)."""
    found = [(max(begin, delivery.begin), cause) for begin, cause in delivery.lease.causes]
    return found + [(end.begin, end.kind) for end in delivery.ends if end.gone is not None]


def cause_before(delivery, time):
    """Why the job could be given to somebody else at this time; None: it could not."""
    feasible = {cause for begin, cause in causes_of(delivery) if begin <= time}
    return next((cause for cause in CAUSES if cause in feasible), None)
