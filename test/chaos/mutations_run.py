"""Too late, too early, and what is wrong at the end of the run."""
from mutations import breaks, unhurried
from synthetic_server import QUEUES


# ---- R8 waiting

def answer_all_claims(case):
    """No fault has hidden what a claim got."""
    for record in case.records:
        if record["outcome"] == "unknown" and record["op"] == "claim":
            record.update(outcome="ok", jobs=[], token=None)


@breaks("R8")
def overlooked(case):
    """The job was there long before, and a claim shortly before its delivery came back with too little."""
    job = case.pick(job for job in case.jobs("plain", "gone")
                    if job.deliveries and not job.operation.delay and len(job.operation.jobs) == 1
                    and unhurried(case, job) and case.history.transaction_of(job.operation).end < 100)
    operations = case.history.transaction_of(job.operation).operations
    for operation in operations:
        for name in ("t_invoke", "t_return"):
            case.record(operation)[name] -= 10
    time = job.deliveries[0].begin - 0.005
    case.events.clear()
    answer_all_claims(case)
    if any(job.operation.tx == record.get("tx") and record["op"] == "purge" for record in case.records):
        raise LookupError
    for begin in (time - 0.002, time):
        case.add(job.deliveries[0].lease.operation, t_invoke=begin, t_return=begin + 0.001, outcome="ok", jobs=[],
                 token=None, count=5, queues=[], queue=job.queue)


@breaks("R8")
def slept_through(case):
    """It was waited for by a claim that got it much too late."""
    job = case.pick(job for job in case.jobs("plain", "gone")
                    if len(job.deliveries) == 1 and not job.operation.delay and unhurried(case, job))
    case.events.clear()
    answer_all_claims(case)
    for record in case.records:
        for name in ("t_invoke", "t_return"):
            if record["client"] == job.operation.client and record.get("tx") == job.operation.tx:
                record[name] -= 20
    record = case.record(job.deliveries[0].lease.operation)
    record.update(t_invoke=record["t_invoke"] - 8, wait=8)


@breaks("R8")
def slept_too_long(case):
    """A claim waited until its time was up, and got nothing, beside a ready job."""
    overlooked(case)
    case.records[-1].update(t_invoke=case.records[-1]["t_invoke"] - 9, wait=9)


# ---- R10 early

@breaks("R10")
def before_its_delay(case):
    job = case.pick(job for job in case.jobs() if job.deliveries)
    waited = job.deliveries[0].end - job.operation.t_invoke
    case.record(job.operation)["delay"] = waited + case.rng.uniform(0.05, 2)


@breaks("R10")
def before_its_retry(case):
    end, second = case.pick(
        (end, b) for job in case.jobs() for a, b in zip(job.deliveries, job.deliveries[1:]) for end in a.ends
        if a.end < b.begin and end.kind == "nack" and end.status == "committed" and end.operation.due)
    case.record(end.operation)["due"] = second.end + case.rng.uniform(0.05, 2)


# ---- R11 conservation

@breaks("R11")
def board_says_more(case):
    case.final["stats"][case.rng.randrange(len(QUEUES))][case.rng.choice(("ready", "scheduled", "running"))] += 1


@breaks("R11")
def purge_says_more(case):
    purges = [operation for operation in case.history.operations if operation.op == "purge"]
    if any(operation.outcome == "unknown" for operation in purges):
        raise LookupError  # nobody knows how many that were
    record = case.pick(case.record(operation) for operation in purges if case.history.status_of(operation) == "committed")
    record["count"] += case.rng.choice((-1, 1, 7))


@breaks("R11")
def audit_finds(case):
    case.final["audit"].append(["plain", case.rng.randrange(100), "ready", "none"])


@breaks("R11")
def row_too_many(case):
    rows = case.final["jobs"]["plain"]
    rows.append(list(case.pick(rows)))


# ---- R12 leaks, R13 log, R14 payload

@breaks("R12")
def left_behind(case):
    case.final[case.rng.choice(("leases", "journal", "tables", "locks"))].append(["plain", 1])


@breaks("R13")
def strange_line(case):
    case.final["log"].append([case.rng.uniform(0, 9), case.rng.choice((
        "LOG:  server process (PID 4711) was terminated by signal 11: Segmentation fault",
        "LOG:  server process (PID 4711) was terminated by signal 6: Aborted",
        'TRAP: FailedAssertion("lease.held.includes(jobs)", File: "board.cpp", Line: 400, PID: 4711)',
        "PANIC:  cannot abort transaction 1234, it was already committed",
        'ERROR: XX001 could not read block 0 in file "base/5/16400": read only 0 of 8192 bytes',
        "[77] onceq worker XX000 ERROR:  unexpected state",
    ))])


@breaks("R13")
def crash_of_nobody(case):
    case.final["log"].append([case.rng.uniform(50, 60), case.rng.choice((  # when no fault is active
        "LOG:  server process (PID 4711) was terminated by signal 9: Killed",
        "LOG:  all server processes terminated; reinitializing"))])


@breaks("R14")
def other_payload(case):
    delivery = case.pick(delivery for job in case.jobs() for delivery in job.deliveries)
    for row in case.record(delivery.lease.operation)["jobs"]:
        if row[0] == delivery.job.id:
            row[3] = f"{case.rng.getrandbits(32):08x}"
