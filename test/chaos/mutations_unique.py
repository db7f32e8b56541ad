"""Unique keys that are not, and jobs that are refused for no reason."""
from mutations import breaks, unhurried


def spans(case):  # (job, from when, until when it was there and unfinished)
    if any(record["op"] == "claim" and record["outcome"] != "ok" and "unique" in (record.get("queues") or [record["queue"]])
           for record in case.records):
        raise LookupError  # it may have used up attempts
    for job in case.jobs("unique"):
        ends = [end.begin for end in job.ends + job.cancels if end.status != "aborted"]
        if job.operation.unique and job.deliveries and ends and unhurried(case, job):
            yield job, case.history.transaction_of(job.operation).end, min(ends)


@breaks("R16")
def of_another_unique_key(case):
    first, second = case.pick(
        (a, b) for a, begin, end in spans(case) for b, other, until in spans(case)
        if begin < other < end - 0.001 and other < until - 0.001 and a.operation.unique != b.operation.unique)
    case.record(second.operation)["unique"] = first.operation.unique


@breaks("R16")
def ended_later(case):
    """The end of the first one, after which its key was given to a second one, was undone."""
    first, second, end = case.pick(
        (a, b, end) for a, *_ in spans(case) for b, *_ in spans(case) for end in a.ends
        if len(a.ends) == 1 and end.kind == "ack" and a.operation.unique == b.operation.unique
        and end.end < case.history.transaction_of(b.operation).begin)
    case.forget_transaction(case.history.transaction_of(end.operation))
    case.record(case.history.transaction_of(end.operation).ending)["op"] = "rollback"


@breaks("R16")
def skipped_and_yet_added(case):
    """An enqueue beside an unfinished job of the key."""
    job, begin, end = case.pick((job, begin, end) for job, begin, end in spans(case) if end - begin > 0.01)
    time = case.rng.uniform(begin + 0.001, end - 0.006)
    case.add(job.operation, t_invoke=time, t_return=time + 0.002, mark=False, ids=[10**6], jobs=[["more", "0"]],
             outcome="ok", delay=0)


@breaks("R16")
def kept_for_longer(case):
    """Than until the next one was added, long after the end of the first."""
    first, second = case.pick(
        (a, b) for a, begin, _ in spans(case) for b in case.jobs("unique")
        if a.operation.unique == b.operation.unique and begin < b.operation.t_invoke and not a.cancels
        and min(end.end for end in a.ends) < b.operation.t_invoke)
    case.record(first.operation)["unique_for"] = second.operation.t_return - first.operation.t_invoke + 0.1


@breaks("R2")
def replaced_by_nobody(case):
    row = case.pick(row for row in case.final["jobs"]["unique"] if len(row) > 4)
    row[4] = case.rng.choice((10**6, row[0]))


@breaks("R4")
def delivered_after_it_was_replaced(case):
    job, end = case.pick((job, end) for job in case.jobs("unique") for end in job.cancels
                         if end.operation.op == "enqueue" and end.status == "committed")
    like = case.pick(delivery for other in case.jobs("unique") for delivery in other.deliveries)
    case.add(like.lease.operation, t_invoke=end.end + 0.1, t_return=end.end + 0.101, outcome="ok", token=10**8,
             jobs=[[job.id, 1, job.key, job.hash]])


@breaks("R1")
def replaced_and_nobody_knows(case):
    row = case.pick(row for row in case.final["jobs"]["unique"] if len(row) > 4)
    del row[4]


def refuse(case, name, time):
    job = case.pick(case.jobs("unique"))
    case.add(job.operation, t_invoke=time, t_return=time + 0.001, outcome="ok", ids=[], unique=name,
             jobs=[["refused", "0"]])


@breaks("R15")
def refused_for_nothing(case):
    refuse(case, "never used", case.rng.uniform(0.1, 3))


@breaks("R15")
def refused_before_all_others(case):
    job = min(case.jobs("unique"), key=lambda job: job.operation.t_invoke)
    refuse(case, job.operation.unique, job.operation.t_invoke - 0.01)


@breaks("R15")
def refused_after_all_have_ended(case):
    name = case.pick(case.jobs("unique")).operation.unique
    found = [job for job in case.history.jobs if job.operation.unique == name]
    ends = [min([end.end for end in job.ends + job.cancels if end.status == "committed"], default=99) for job in found
            if job.status == "committed"]
    if max(ends) > 90 or any(job.revivals for job in found):
        raise LookupError
    refuse(case, name, max(ends) + 2)
