"""Claims over several queues, whose deliveries are judged as all others; and good histories with such claims."""
from mutations import acked, breaks, unhurried
from mutations_run import answer_all_claims
from records import COUNTED, causes_of
from synthetic_server import QUEUES


def any_of(case, queue):
    """This queue and two others, in some order."""
    return case.rng.sample([queue, *case.rng.sample([other for other in QUEUES if other != queue], 2)], 3)


def delivered(case):
    return [delivery for job in case.jobs() for delivery in job.deliveries if delivery.lease.operation.queues]


@breaks("R2")
def not_asked(case):
    """It took jobs from a queue that it was not given."""
    record = case.record(case.pick(delivered(case)).lease.operation)
    record["queues"] = [queue for queue in record["queues"] if queue != record["queue"]]


@breaks("R2")
def of_the_other_queue(case):
    """It says that they are of another of its queues."""
    record = case.record(case.pick(delivered(case)).lease.operation)
    record["queue"] = case.rng.choice([queue for queue in record["queues"] if queue != record["queue"]])


@breaks("R4")
def ended_before(case):
    job, end = case.pick(acked(case, "plain", "gone"))
    case.claim(job.deliveries[-1], end.end + 0.5)["queues"] = any_of(case, job.queue)


@breaks("R5")
def held_by_others(case):
    delivery = case.pick(
        job.deliveries[0] for job in case.jobs("plain", "gone", "keyed") if unhurried(case, job)
        and len(job.deliveries) == 1 and job.deliveries[0].lease.operation.hold == "time"
        and job.deliveries[0].lease.status == "committed" and not job.deliveries[0].lease.extensions
        and all(end.begin > job.deliveries[0].end + 0.01 for end in job.deliveries[0].ends))
    limit = min([delivery.begin + 0.3, *(end.begin for end in delivery.ends)])
    case.claim(delivery, case.rng.uniform(delivery.end, limit - 0.002))["queues"] = any_of(case, delivery.job.queue)


@breaks("R6")
def late_ack_of_several(case):
    job, first, second = case.pick(
        (job, a, b) for job in case.jobs() for a, b in zip(job.deliveries, job.deliveries[1:])
        if a.lease.operation.queues and a.end < b.begin and not any(end.status == "committed" for end in a.ends))
    case.add(first.lease.operation, op="ack", token=first.lease.token, ids=[job.id], jobs=[],
             t_invoke=second.end + 0.01, t_return=second.end + 0.02, outcome="ok")


def hidden_attempt(case, queues):
    """An attempt was counted, but its claim, which was over these queues, was not answered."""
    first = case.pick(
        a for job in case.jobs("plain", "few", "durable", "hard", "gone") for a, b in zip(job.deliveries, job.deliveries[1:])
        if a.end < b.begin and a.attempt < b.attempt and not job.asked and not a.lease.extensions
        and {cause for begin, cause in causes_of(a) if begin <= b.end} <= COUNTED
        and not any(end.operation.token == a.lease.token for other in case.history.jobs for end in other.ends))
    if first.lease.operation.queues:
        raise LookupError
    case.record(first.lease.operation).update(
        outcome="unknown", lost=True, jobs=[], token=None, queue=None, queues=queues(first.job.queue))


@breaks("R7")
def hidden_in_other_queues(case):
    answer_all_claims(case)
    hidden_attempt(case, lambda queue: [other for other in QUEUES if other != queue])


def beside_one_that_waits(case, weights, looks):
    """Claims that took from another queue, after they had looked at that of the job, or before."""
    waiting, other = case.rng.sample(("plain", "few", "durable", "fatal"), 2)
    first = case.late_jobs(waiting, 60)
    for time in looks:
        case.deliver(case.late_jobs(other, 61), time, queues=[waiting, other], weights=weights)
    case.deliver(first, 70)


@breaks("R8")
def passed_over(case):
    answer_all_claims(case)
    beside_one_that_waits(case, [], (64, 65))


@breaks("R8")
def found_nothing(case):
    answer_all_claims(case)
    beside_one_that_waits(case, [1, 10], (64, 65))
    for record in case.records:
        if record["op"] == "claim" and record["t_invoke"] in (64, 65):
            case.note(record["t_invoke"] + 3, op="claim", queues=record["queues"], count=5)


# ---- good ones

def hidden_attempt_of_several(case):
    hidden_attempt(case, lambda queue: any_of(case, queue))


def looked_on_by_weights(case):
    beside_one_that_waits(case, [1, 10], (64, 65, 66))


def looked_on_once(case):
    beside_one_that_waits(case, [], (64,))
