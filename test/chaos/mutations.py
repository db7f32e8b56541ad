"""Ways to spoil a good history, each of which breaks the rule it is registered for."""
import pickle
import random
from functools import cache

from checker import RULES, Checker
from history import COUNTED, History, causes_of
from synthetic import make_history
from synthetic_server import QUEUES

MUTATIONS = {rule: [] for rule in RULES}


class Case:
    """A good history to be spoilt: what it says, and the records to change."""

    def __init__(self, seed):
        self.records, self.events, self.final = pickle.loads(frozen(seed))
        self.history = original_history(seed)
        self.rng = random.Random(seed)
        self.by_name = {(record["client"], record["n"]): record for record in self.records}

    def record(self, operation):
        return self.by_name[operation.client, operation.n]

    def pick(self, found):
        """One of these, at random; LookupError if there is none, and then another history is tried."""
        return self.rng.choice(list(found))

    def jobs(self, *queues):
        return [job for job in self.history.jobs
                if job.status == "committed" and job.id is not None and (not queues or job.queue in queues)]

    def row(self, job):
        return next(row for row in self.final["jobs"][job.queue] if row[0] == job.id)

    def add(self, like, **changes):
        """Another record like that one, by a client of its own."""
        record = {**self.record(like), "client": f"x{len(self.records)}", "n": 1, "tx": 1, "auto": True, **changes}
        self.records.append(record)
        self.by_name[record["client"], 1] = record
        return record

    def claim(self, delivery, time, attempt=None):
        """A claim by a stranger, at that time, that gets the job of this delivery again."""
        job = delivery.job
        return self.add(delivery.lease.operation, t_invoke=time, t_return=time + 0.001, outcome="ok",
                        token=self.rng.randrange(10**6, 10**9), hold="time",
                        jobs=[[job.id, attempt or delivery.attempt, job.key, job.hash]])

    def forget_transaction(self, transaction):
        mark = [transaction.client, transaction.number]
        if mark in self.final["marks"]:
            self.final["marks"].remove(mark)
        self.final["effects"] = [row for row in self.final["effects"] if row[3:] != mark]

    def verdict(self):
        checker = Checker(History(self.records, self.events, self.final))
        checker.run()
        return checker.broken


@cache
def frozen(seed):
    return pickle.dumps(make_history(seed))


@cache
def original_history(seed):
    return History(*pickle.loads(frozen(seed)))


def breaks(rule):
    def register(mutation):
        MUTATIONS[rule].append(mutation)
        return mutation
    return register


def acked(case, *queues):  # (job, its committed ack) where both are certain
    return [(job, end) for job in case.jobs(*queues) for end in job.ends
            if end.kind == "ack" and end.status == "committed" and end.end < 100]


def unhurried(case, job):
    """Whether no fault came near the job from its enqueue on."""
    begin = job.operation.t_invoke - 0.1
    end = max((delivery.lease.operation.t_return for delivery in job.deliveries), default=begin)
    return not any(event["t_invoke"] <= end and event["t_return"] >= begin for event in case.events)


# ---- R1 lost

@breaks("R1")
def row_is_gone(case):
    job = case.pick(case.jobs("plain", "few", "keyed"))
    case.final["jobs"][job.queue].remove(case.row(job))


@breaks("R1")
def job_is_stuck(case):
    job = case.pick(job for job in case.jobs("plain", "keyed") if not any(e.status == "committed" for e in job.ends))
    case.row(job)[2] = case.rng.choice(("ready", "running", "scheduled"))


@breaks("R1")
def never_delivered(case):
    job = case.pick(case.jobs("gone"))
    for delivery in job.deliveries:
        record = case.record(delivery.lease.operation)
        record["jobs"] = [row for row in record["jobs"] if row[0] != job.id]
    for end in job.ends:
        record = case.record(end.operation)
        record["ids"] = [number for number in record["ids"] if number != job.id]


@breaks("R1")
def commit_is_gone(case):
    found = (case.history.transaction_of(job.operation) for job in case.jobs())
    case.forget_transaction(case.pick(one for one in found if one.sync and one.end < 100))


@breaks("R1")
def effect_is_gone(case):
    job, _ = case.pick(acked(case))
    case.final["effects"] = [row for row in case.final["effects"] if row[:2] != [job.queue, job.id]]


# ---- R2 phantom

@breaks("R2")
def rolled_back_yet_delivered(case):
    job = case.pick(job for job in case.jobs() if job.deliveries)
    transaction = case.history.transaction_of(job.operation)
    case.forget_transaction(transaction)
    case.record(transaction.ending).update(op="rollback")


@breaks("R2")
def before_the_commit(case):
    job = case.pick(job for job in case.jobs() if job.deliveries)
    ending = case.record(case.history.transaction_of(job.operation).ending)
    ending["t_invoke"] = job.deliveries[0].end + case.rng.uniform(0.001, 0.1)
    ending["t_return"] = ending["t_invoke"] + 0.001


@breaks("R2")
def unknown_job(case):
    delivery = case.pick(delivery for job in case.jobs() for delivery in job.deliveries)
    record = case.record(delivery.lease.operation)
    record["jobs"].append([case.rng.randrange(10**6, 10**7), 1, "never-enqueued", "00000000"])


@breaks("R2")
def row_of_nobody(case):
    case.final["jobs"]["plain"].append([case.rng.randrange(10**6, 10**7), "never-enqueued", "succeeded", 1])


@breaks("R2")
def id_given_twice(case):
    queue = case.pick(("plain", "few", "gone"))
    first, second = case.rng.sample(case.jobs(queue), 2)
    ids = case.record(second.operation)["ids"]
    ids[ids.index(second.id)] = first.id


@breaks("R2")
def failed_yet_stored(case):
    transaction = case.pick(case.history.transaction_of(job.operation) for job in case.jobs())
    case.record(transaction.ending).update(outcome="fail", sqlstate="40001")


# ---- R3 double effect

@breaks("R3")
def second_effect(case):
    case.final["effects"].append(list(case.pick(case.final["effects"])))


@breaks("R3")
def second_end(case):
    row = list(case.pick(row for row in case.final["outcomes"] if row[3] in ("acked", "dead")))
    case.final["outcomes"].append([*row[:3], case.rng.choice(("acked", "dead", "cancelled")), row[4]])


@breaks("R3")
def second_ack(case):
    job, end = case.pick(acked(case))
    other = case.claim(case.pick(job.deliveries), end.end + 1)
    case.add(end.operation, op="ack", token=other["token"], ids=[job.id], t_invoke=end.end + 1.1,
             t_return=end.end + 1.2, outcome="ok")


# ---- R4 revived

@breaks("R4")
def delivered_after_ack(case):
    job, end = case.pick(acked(case))
    case.claim(job.deliveries[-1], end.end + case.rng.uniform(0.01, 3), job.deliveries[-1].attempt + 1)


@breaks("R4")
def delivered_after_reject(case):
    job, end = case.pick((job, end) for job in case.jobs() for end in job.ends
                         if end.kind == "reject" and end.status == "committed" and end.end < 100)
    case.claim(job.deliveries[-1], end.end + case.rng.uniform(0.01, 3), job.deliveries[-1].attempt + 1)


@breaks("R4")
def acked_yet_not_succeeded(case):
    job, _ = case.pick(acked(case, "plain", "few", "keyed"))
    case.row(job)[2] = case.rng.choice(("dead", "cancelled"))


# ---- R5 overlap

@breaks("R5")
def second_holder(case):
    delivery = case.pick(
        job.deliveries[0] for job in case.jobs("plain", "gone") if unhurried(case, job) and len(job.deliveries) == 1
        and job.deliveries[0].lease.operation.hold == "time" and job.deliveries[0].lease.status == "committed"
        and not job.deliveries[0].lease.extensions
        and all(end.begin > job.deliveries[0].end + 0.01 for end in job.deliveries[0].ends))
    limit = min([delivery.begin + 0.3, *(end.begin for end in delivery.ends)])
    case.claim(delivery, case.rng.uniform(delivery.end, limit - 0.002))


@breaks("R5")
def token_twice(case):
    first, second = case.rng.sample([job.deliveries[0].lease.operation for job in case.jobs() if job.deliveries], 2)
    if first is second:
        raise LookupError
    case.record(second)["token"] = first.token


@breaks("R5")
def two_claims_at_the_same_time(case):
    delivery = case.pick(job.deliveries[0] for job in case.jobs("plain", "gone") if unhurried(case, job)
                         and len(job.deliveries) == 1 and job.deliveries[0].lease.status == "committed"
                         and job.deliveries[0].lease.operation.hold == "time")
    case.claim(delivery, delivery.begin)


# ---- R6 fence

@breaks("R6")
def late_ack_works(case):
    """Two deliveries, and the first token acks after the second was granted."""
    job, first, second = case.pick(
        (job, a, b) for job in case.jobs() for a, b in zip(job.deliveries, job.deliveries[1:])
        if a.end < b.begin and not any(end.status == "committed" for end in a.ends))
    case.add(first.lease.operation, op=case.rng.choice(("ack", "reject")), token=first.lease.token, ids=[job.id],
             jobs=[], t_invoke=second.end + 0.01, t_return=second.end + 0.02, outcome="ok")


@breaks("R6")
def late_nack_works(case):
    job, first, second = case.pick(
        (job, a, b) for job in case.jobs() for a, b in zip(job.deliveries, job.deliveries[1:])
        if a.end < b.begin and not any(end.status == "committed" for end in a.ends))
    case.add(first.lease.operation, op="nack", token=first.lease.token, ids=[job.id], jobs=[],
             t_invoke=second.end + 0.01, t_return=second.end + 0.02, outcome="ok")


@breaks("R6")
def never_held(case):
    (job, end), (other, _) = case.rng.sample(acked(case, "plain", "gone"), 2)
    if (end.operation.token, other.id) in case.history.by_id:
        raise LookupError
    case.record(end.operation)["ids"].append(other.id)


@breaks("R6")
def wrong_count(case):
    _, end = case.pick(acked(case))
    case.record(end.operation)["count"] += case.rng.choice((-1, 1))


# ---- R7 attempts

def again(case, *kinds):  # (first, second) where the first delivery ended in this way only
    return [(a, b) for job in case.jobs("plain", "gone") for a, b in zip(job.deliveries, job.deliveries[1:])
            if a.end < b.begin and len(job.deliveries) == 2
            and {end.kind for end in a.ends if end.status == "committed"} == set(kinds)]


def set_attempt(case, delivery, attempt):
    record = case.record(delivery.lease.operation)
    for row in record["jobs"]:
        if row[0] == delivery.job.id:
            row[1] = attempt


@breaks("R7")
def nack_not_counted(case):
    first, second = case.pick((a, b) for a, b in again(case, "nack")
                              if all(cause in COUNTED for begin, cause in causes_of(a) if begin <= b.end))
    set_attempt(case, second, first.attempt)


@breaks("R7")
def attempt_goes_back(case):
    first, second = case.pick(again(case, "nack"))
    set_attempt(case, first, second.attempt + 1)


@breaks("R7")
def release_counted(case):
    first, second = case.pick(
        (a, b) for a, b in again(case, "release") if unhurried(case, a.job)
        and b.end < a.begin + a.lease.operation.lease and a.lease.operation.hold == "time"
        and a.lease.status == "committed" and b.attempt == a.attempt
        and not Checker(case.history).hidden_claims(a.job.queue, a.begin, b.end))
    set_attempt(case, second, first.attempt + 1)


@breaks("R7")
def first_is_not_one(case):
    job = case.pick(job for job in case.jobs("plain") if job.deliveries and unhurried(case, job))
    set_attempt(case, job.deliveries[0], case.rng.choice((0, job.deliveries[0].attempt + 5)))


@breaks("R7")
def dead_too_early(case):
    job = case.pick(job for job in case.jobs("plain", "few")
                    if case.row(job)[2] == "dead" and not any(end.kind == "reject" for end in job.ends))
    case.row(job)[3] -= 1


@breaks("R7")
def more_than_allowed(case):
    job = case.pick(job for job in case.jobs("few") if job.deliveries)
    set_attempt(case, job.deliveries[-1], 3)


@breaks("R7")
def failed_twice(case):
    case.final["outcomes"].append(list(case.pick(row for row in case.final["outcomes"] if row[3] == "failed")))


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
    case.add(job.deliveries[0].lease.operation, t_invoke=time, t_return=time + 0.001, outcome="ok", jobs=[],
             token=None, count=5)


@breaks("R8")
def forgotten_after_release(case):
    """Released, and delivered much later although others asked for more."""
    job, delivery, end = case.pick(
        (job, job.deliveries[-1], end) for job in case.jobs("plain", "gone")
        for end in job.deliveries[-1].ends if job.deliveries and end.kind == "release" and end.status == "committed")
    case.events.clear()
    answer_all_claims(case)
    case.add(delivery.lease.operation, t_invoke=end.end + 4, t_return=end.end + 4.01, outcome="ok", jobs=[],
             token=None, count=5)
    if job.queue == "plain":
        case.row(job)[2] = "ready"


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


# ---- R9 order

@breaks("R9")
def overtaken(case):
    first, second = case.pick(
        (a, b) for a in case.jobs("keyed") for b in case.jobs("keyed")
        if a.id < b.id and a.operation.ordering == b.operation.ordering and b.deliveries and a.deliveries
        and not any(a.id < c.id < b.id and c.operation.ordering == a.operation.ordering for c in case.jobs("keyed"))
        and a.operation is not b.operation)
    enqueued = max(case.history.transaction_of(job.operation).end for job in (first, second))
    case.claim(second.deliveries[0], enqueued + 0.001)
    final = min(end.begin for end in first.ends if end.status != "aborted" and end.kind in ("ack", "reject"))
    if enqueued + 0.01 > final:
        raise LookupError


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
    record = case.pick(case.record(operation) for operation in case.history.operations
                       if operation.op == "purge" and case.history.status_of(operation) == "committed")
    record["count"] += case.rng.choice((-1, 1, 7))


@breaks("R11")
def audit_finds(case):
    case.final["audit"].append(["plain", case.rng.randrange(100), "ready", "none"])


@breaks("R11")
def row_too_many(case):
    rows = case.final["jobs"]["plain"]
    rows.append(list(case.pick(rows)))


@breaks("R11")
def cancelled_by_nobody(case):
    job = case.pick(job for job in case.jobs("plain") if not job.ends)
    case.row(job)[2] = "cancelled"


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
