"""More jobs are delivered in some time than the rate allows; and good histories in which it looks so."""
from functools import wraps

from mutations import MUTATIONS
from mutations_run import answer_all_claims
from synthetic_server import QUEUES

BURST = QUEUES["rated"]["rate_burst"]
PERIOD = QUEUES["rated"]["rate_period"] / QUEUES["rated"]["rate_limit"]  # of one job


def breaks(mutation):
    """Where nothing is under way that may be given back."""
    @wraps(mutation)
    def mutate(case):
        answer_all_claims(case)
        mutation(case)
    MUTATIONS["R20"].append(mutate)
    return mutate


def burst(case, time, count=BURST, **fields):
    return case.deliver(case.late_jobs("rated", 59, count), time, **fields)


def steadily(case, gap, count=20):
    for number in range(count):
        burst(case, 61 + number * gap, 1)


def busiest(case):
    """The most jobs of one claim."""
    return max(len(operation.jobs) for operation in case.history.operations
               if operation.op == "claim" and operation.queue == "rated")


@breaks
def at_once(case):
    burst(case, 60, BURST + case.rng.choice((1, 2, 50)))


@breaks
def one_after_the_other(case):
    for number in range(BURST + 2):
        burst(case, 60 + 0.002 * number, 1)


@breaks
def twice_as_fast(case):
    steadily(case, PERIOD / 2)


@breaks
def a_little_too_fast(case):
    steadily(case, PERIOD * 0.9, 60)


@breaks
def burst_was_lower(case):
    most = busiest(case)
    if most < 2:
        raise LookupError
    case.final["queues"]["rated"]["rate_burst"] = most - 1


@breaks
def rate_was_lower(case):
    if sum(len(job.deliveries) for job in case.jobs("rated")) < BURST + 8:
        raise LookupError
    case.final["queues"]["rated"]["rate_period"] = 50
    case.events = [event for event in case.events if not event.get("moved")]


@breaks
def released_and_again(case):
    """A delivery counts, whatever becomes of the job."""
    jobs = case.late_jobs("rated", 59, BURST)
    claim = case.late_claim(jobs, 60)
    case.note(60.002, op="release", queue="rated", token=claim["token"], ids=jobs["ids"], whole=True)
    case.deliver(jobs, 60.01)


@breaks
def rolled_back_and_again(case):
    jobs = case.late_jobs("rated", 59, BURST)
    claim = case.late_claim(jobs, 60, auto=False)
    case.note(60.002, client=claim["client"], n=2, op="rollback", tx=1, auto=False)
    case.deliver(jobs, 60.01)


@breaks
def by_a_claim_over_several(case):
    burst(case, 60)
    burst(case, 60.01, queues=["plain", "rated"])


def restart(case, **fields):
    case.events.append({"event": "stop", "t_invoke": 60, "t_return": 60.1, "stops": "crash", **fields})


@breaks
def full_after_a_restart(case):
    restart(case)
    burst(case, 60.11)


@breaks
def filled_too_soon_after_a_restart(case):
    restart(case)
    burst(case, 60.1 + PERIOD, 1)
    burst(case, 60.1 + 1.1 * PERIOD, 2)


# ---- good ones

def burst_after_a_pause(case):
    burst(case, 61 - PERIOD)
    steadily(case, PERIOD * 1.01)


def first_ones_after_a_restart(case):
    restart(case)
    for number in range(1, 5):
        burst(case, 60 + number * PERIOD, 1)


def given_back(case):
    """One that was under way for long had taken some, and could not return them."""
    case.note(59.9, op="claim", queue="rated", count=BURST, t_return=60.1)
    burst(case, 60)
    burst(case, 60.01)


def perhaps_given_back(case):
    case.note(59.9, op="claim", queues=["plain", "rated"], count=BURST, outcome="unknown", lost=True)
    burst(case, 60)
    burst(case, 60.01)


def another_bucket(case):
    """In the copy it was full already."""
    burst(case, 60)
    restart(case, moved=True, lossy_since=59.9)
    burst(case, 60.11)
