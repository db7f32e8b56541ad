"""Jobs that are cancelled or redriven, and yet not."""
from mutations import breaks, acked


def cancelled(case):  # (job, its committed cancel)
    return [(job, end) for job in case.jobs() for end in job.cancels
            if end.status == "committed" and end.end < 100 and end.operation.op == "cancel"]


def redriven(case, *queues):
    return [(job, end) for job in case.jobs(*queues) for end in job.revivals
            if end.status == "committed" and end.end < 100]


def order(case, like, job, op, time, count):
    """Another cancel or redrive, in a transaction of its own that was committed."""
    return case.add(like, op=op, queue=job.queue, ids=[job.id], jobs=[], t_invoke=time, t_return=time + 0.001,
                    outcome="ok", count=count)


@breaks("R1")
def cancelled_by_nobody(case):
    job = case.pick(job for job in case.jobs("plain", "keyed") if not job.ends and not job.cancels)
    case.row(job)[2] = "cancelled"


@breaks("R3")
def acked_and_cancelled(case):
    job, end = case.pick(acked(case, "plain", "keyed", "onward"))
    order(case, end.operation, job, "cancel", end.begin - 0.002, 1)


@breaks("R4")
def delivered_after_cancel(case):
    job, end = case.pick((job, end) for job, end in cancelled(case) if job.deliveries)
    case.claim(job.deliveries[-1], end.end + case.rng.uniform(0.01, 3), job.deliveries[-1].attempt + 1)


@breaks("R4")
def cancelled_yet_something_else(case):
    job, _ = case.pick(cancelled(case))
    case.row(job)[2] = case.rng.choice(("ready", "dead", "running"))


@breaks("R4")
def delivered_between_death_and_redrive(case):
    job, death, revival = case.pick(
        (job, death, revival) for job, revival in redriven(case) if len(job.revivals) == 1 for death in job.ends
        if death.status == "committed" and death.is_final and death.kind != "ack" and death.end < revival.begin - 0.01)
    last = [delivery for delivery in job.deliveries if death in delivery.ends][0]
    case.claim(last, case.rng.uniform(death.end + 0.001, revival.begin - 0.005), last.attempt + 1)


@breaks("R6")
def holder_acts_after_cancel(case):
    job, end = case.pick((job, end) for job, end in cancelled(case) if job.deliveries)
    claim = job.deliveries[-1].lease.operation
    case.add(claim, op=case.rng.choice(("nack", "release", "reject")), ids=[job.id], jobs=[], t_invoke=end.end + 0.01,
             t_return=end.end + 0.02, outcome="ok")


@breaks("R7")
def attempts_begin_anew(case):
    """Those of before the redrive are not forgotten."""
    job, revival, later = case.pick(
        (job, end, delivery) for job, end in redriven(case, "plain", "onward", "few") for delivery in job.deliveries
        if delivery.begin > end.end and job.deliveries[0].end < delivery.begin and delivery.attempt > 1)
    for row in case.record(later.lease.operation)["jobs"]:
        if row[0] == job.id:
            row[1] = 0 if job.deliveries[0].attempt == 1 else 1


@breaks("R7")
def more_than_redriven(case):
    job, _ = case.pick((job, end) for job, end in redriven(case, "few", "onward") if len(job.revivals) == 1)
    case.row(job)[3] = 5 + case.rng.randrange(3)


@breaks("R9")
def overtakes_the_redriven(case):
    """In a queue that goes on after a dead job, one that is redriven comes first again."""
    first, second, revival = case.pick(
        (a, b, end) for a, end in redriven(case, "onward") for b in case.jobs("onward")
        if len(a.revivals) == 1 and case.row(a)[2] == "succeeded" and b.deliveries and a.id < b.id
        and a.operation.ordering and a.operation.ordering == b.operation.ordering)
    over = min(end.begin for end in first.ends if end.kind == "ack" and end.status != "aborted")
    if over - revival.end < 0.005:
        raise LookupError
    case.claim(second.deliveries[0], case.rng.uniform(revival.end + 0.001, over - 0.003))


@breaks("R1")
def cancelled_by_who_said_no(case):
    _, end = case.pick((job, end) for job, end in cancelled(case) if job.queue not in ("few", "gone"))
    case.record(end.operation)["count"] = 0


@breaks("R11")
def more_cancelled_than_asked(case):
    case.row(case.pick(job for job in case.jobs("few") if case.row(job)[2] != "cancelled"))[2] = "cancelled"


@breaks("R15")
def found_nothing_to_cancel(case):
    job = case.pick(job for job in case.jobs("plain", "keyed") if len(job.deliveries) == 1 and not job.cancels
                    and len(job.ends) == 1 and job.ends[0].begin > job.deliveries[0].end + 0.01)
    order(case, job.operation, job, "cancel", job.deliveries[0].end + 0.001, 0)


@breaks("R15")
def redrove_what_lived(case):
    job, end = case.pick((job, end) for job, end in acked(case, "plain") if len(job.ends) == 1)
    order(case, end.operation, job, "redrive", end.end + 0.01, 1)


@breaks("R15")
def redrove_nothing(case):
    job, end = case.pick((job, end) for job in case.jobs("plain", "few", "onward") for end in job.ends
                         if not job.asked and end.kind == "reject" and end.status == "committed" and end.end < 100)
    order(case, end.operation, job, "redrive", end.end + 0.01, 0)
