"""Two holders, old tokens, attempts that are not counted."""
from checker import Checker
from mutations import acked, breaks, unhurried
from records import COUNTED, causes_of


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


def hard(case):  # deliveries that nothing else than the hard limit has ended, and the next
    return [(a, b) for job in case.jobs("hard") for a, b in zip(job.deliveries, job.deliveries[1:])
            if a.end < b.begin and {cause for begin, cause in causes_of(a) if begin <= b.end} == {"limit"}]


@breaks("R5")
def no_hard_limit(case):
    """Taken away before its lease was over; but the queue has no such limit."""
    case.pick(hard(case))
    case.final["queues"]["hard"]["hard_time_limit"] = 0


@breaks("R5")
def before_the_hard_limit(case):
    first, second = case.pick(hard(case))
    case.final["queues"]["hard"]["hard_time_limit"] = second.end - first.begin + case.rng.uniform(0.01, 0.1)


def durable(case):  # (delivery, stop) where the lease has to survive that
    return [(delivery, stop) for job in case.jobs("durable") for delivery in job.deliveries for stop in case.history.stops
            if delivery.lease.status == "committed" and stop.lossy_since is None and stop.begin > delivery.end
            and not delivery.lease.extensions and stop.begin + 0.01 < delivery.begin + delivery.lease.operation.lease
            and all(end.gone is None or end.begin > stop.begin + 0.01 for end in delivery.ends)
            and not any(other.lossy_since is not None and other.begin < stop.end for other in case.history.stops)]


@breaks("R5")
def forgotten_in_a_crash(case):
    """A durable lease, and its job is delivered again as soon as the server is up, or even before."""
    delivery, stop = case.pick(durable(case))
    limit = min([delivery.begin + delivery.lease.operation.lease, stop.end + 0.1,
                 *(end.begin for end in delivery.ends if end.gone is not None)])
    case.claim(delivery, case.rng.uniform(stop.begin + 0.002, limit - 0.002))


@breaks("R5")
def not_durable_after_all(case):
    """A job came again after a crash, as it may; but not if its queue's leases are durable."""
    found = [(a, b) for queue in ("plain", "few", "limited") for job in case.jobs(queue)
             for a, b in zip(job.deliveries, job.deliveries[1:])
             if a.end < b.begin and {cause for begin, cause in causes_of(a) if begin <= b.end} == {"crash"}]
    first, _ = case.pick(found)
    if any(stop.lossy_since is not None for stop in case.history.stops):
        raise LookupError
    case.final["queues"][first.job.queue]["durable"] = True


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


@breaks("R6")
def extended_although_undone(case):
    claim, rollback = case.pick(
        (lease.operation, ending) for lease in case.history.leases.values()
        if (ending := case.history.transaction_of(lease.operation).ending) and ending.op == "rollback"
        and ending.outcome == "ok")
    case.add(claim, op="extend", jobs=[], t_invoke=rollback.t_return + 0.01, t_return=rollback.t_return + 0.02)


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
def hard_limit_not_counted(case):
    first, second = case.pick(hard(case))
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
