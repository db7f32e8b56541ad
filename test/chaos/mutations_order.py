"""Jobs of an ordering key that do not take turns."""
from itertools import combinations

from mutations import breaks


def turns(case, *queues):  # (first, second) of one key; each was delivered
    for queue in queues or ("keyed", "onward"):
        jobs = [job for job in case.jobs(queue) if job.deliveries and job.operation.ordering]
        jobs.sort(key=lambda job: job.id)
        yield from ((a, b) for a, b in combinations(jobs, 2) if a.operation.ordering == b.operation.ordering)


def succeeded(case, *queues):
    return ((a, b) for a, b in turns(case, *queues) if case.row(a)[2] == "succeeded")


def published(case, job):
    return case.history.transaction_of(job.operation).end


def over(job):
    """The job was not, before."""
    return min(end.begin for end in job.ends if end.status != "aborted" and (end.kind in ("ack", "reject") or end.dead))


def held(delivery):
    """From when, and until when, for certain."""
    begins = [begin for begin, _ in delivery.lease.causes]
    return delivery.end, min(begins + [end.begin for end in delivery.ends if end.status != "aborted"])


def claim_between(case, job, begin, end):
    if end - begin < 0.003:
        raise LookupError
    case.claim(job.deliveries[0], case.rng.uniform(begin + 0.0005, end - 0.002))


@breaks("R9")
def overtaken(case):
    """Handed over while the first one had not even been claimed."""
    first, second = case.pick((a, b) for a, b in succeeded(case))
    claim_between(case, second, published(case, first), min(first.deliveries[0].begin, over(first)))


@breaks("R9")
def while_the_first_one_runs(case):
    first, second = case.pick(succeeded(case))
    claim_between(case, second, *held(case.pick(first.deliveries)))


@breaks("R9")
def while_the_later_one_runs(case):
    """The first was committed late, when a later one had been claimed: this one comes first, then."""
    first, second = case.pick(turns(case))
    claim_between(case, first, *held(case.pick(second.deliveries)))


@breaks("R9")
def two_in_one_claim(case):
    first, second = case.pick(turns(case))
    rows = case.record(first.deliveries[0].lease.operation)["jobs"]
    if any(row[0] == second.id for row in rows):
        raise LookupError
    rows.append([second.id, 1, second.key, second.hash])


def between_two_attempts(case, *kinds):
    """The first one's attempt ended in such a way, and it waits for the next."""
    first, second, a, b = case.pick(
        (first, second, a, b) for first, second in succeeded(case) for a, b in zip(first.deliveries, first.deliveries[1:])
        if a.end < b.begin and kinds == tuple({end.kind for end in a.ends if end.status == "committed"}))
    ended = max([end.end for end in a.ends if end.status == "committed"], default=a.end)
    claim_between(case, second, max(ended, published(case, first)), min(b.begin, over(first)))


@breaks("R9")
def before_the_retry(case):
    between_two_attempts(case, "nack")


@breaks("R9")
def after_a_release(case):
    between_two_attempts(case, "release")


@breaks("R9")
def after_a_lease_was_lost(case):
    between_two_attempts(case)


@breaks("R9")
def after_an_ack_that_was_undone(case):
    first, second, end = case.pick((a, b, end) for a, b in succeeded(case) for end in a.ends
                                   if end.kind == "ack" and end.status == "aborted")
    claim_between(case, second, max(end.operation.t_return, published(case, first)), over(first))


@breaks("R9")
def after_a_crash(case):
    """The order is not forgotten with the server's memory."""
    first, second, stop = case.pick((a, b, stop) for a, b in succeeded(case) for stop in case.history.stops)
    claim_between(case, second, max(stop.end, published(case, first)), over(first))


@breaks("R9")
def while_the_first_one_is_delayed(case):
    first, second = case.pick((a, b) for a, b in succeeded(case, "keyed") if a.operation.delay)
    claim_between(case, second, published(case, first),
                  min(first.operation.t_invoke + first.operation.delay, over(first)))


@breaks("R9")
def past_a_dead_one(case):
    """Which blocks its key, in this queue."""
    first, second = case.pick((a, b) for a, b in succeeded(case, "keyed")
                              if b.deliveries[0].begin > max(end.end for end in a.ends if end.status != "aborted"))
    for end in first.ends:
        if end.status == "committed" and end.kind == "ack":
            case.record(end.operation)["op"] = "reject"
    case.row(first)[2] = "dead"


@breaks("R9")
def before_the_last_attempt(case):
    """A dead job lets the next one go on, but only when it is dead."""
    first, second, death = case.pick(
        (a, b, end) for a, b in turns(case, "onward") for end in a.ends if end.status == "committed" and end.dead
        and len(a.deliveries) == 2)
    if any(end.kind == "reject" and end.status != "aborted" for end in first.ends):
        raise LookupError
    claim_between(case, second, max(first.deliveries[0].end, published(case, first)),
                  min(begin for begin, _ in [(death.begin, "nack"), *first.deliveries[-1].lease.causes]))


@breaks("R9")
def of_another_key(case):
    """What ran beside it, or before it, was of its own key."""
    first, second = case.pick(
        (a, b) for a in case.jobs("keyed") for b in case.jobs("keyed")
        if a.id < b.id and a.operation.ordering and a.deliveries and b.deliveries
        and a.operation.ordering != b.operation.ordering and case.row(a)[2] == "succeeded"
        and published(case, a) < b.deliveries[0].begin < b.deliveries[0].end < over(a))
    case.record(second.operation)["ordering"] = first.operation.ordering
