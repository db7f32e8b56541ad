"""Dead jobs without a copy, or with too many; copies of jobs that live."""
from mutations import breaks


def copies(case):
    return [row for row in case.final["jobs"]["letters"] if "#" in row[1]]


def another(case, key):
    rows = case.final["jobs"]["letters"]
    rows.append([10**6 + len(rows), key, "succeeded", 1])


def nothing_is_taken_away(case):
    if any(stop.lossy_since is not None for stop in case.history.stops):
        raise LookupError


@breaks("R2")
def copied_again_without_a_loss(case):
    """Over a crash, perhaps, but who makes copies waits until they are on disk."""
    nothing_is_taken_away(case)
    delivery = case.pick(delivery for job in case.jobs("letters") if "#" in job.key for delivery in job.deliveries)
    for named in case.record(delivery.lease.operation)["jobs"]:
        named[0] += 10**6 * (named[2] == delivery.key)


@breaks("R19")
def no_copy(case):
    case.final["jobs"]["letters"].remove(case.pick(copies(case)))


@breaks("R19")
def copied_twice(case):
    another(case, case.pick(copies(case))[1])


@breaks("R19")
def copied_though_it_lives(case):
    job = case.pick(job for job in case.jobs("fatal") if case.row(job)[2] == "succeeded" and not job.revivals)
    another(case, f"{job.key}#{case.row(job)[3]}")


@breaks("R19")
def copied_too_early(case):
    """After an attempt that was not the last."""
    row = case.pick(row for row in case.final["outcomes"] if row[0] == "fatal" and row[3] == "failed")
    another(case, f"{[job.key for job in case.jobs('fatal') if job.id == row[1]][0]}#{row[4]}")


@breaks("R19")
def of_another_attempt(case):
    row = case.pick(copies(case))
    row[1] += "0"


@breaks("R19")
def died_and_nobody_was_told(case):
    row = case.pick(row for row in case.final["outcomes"] if row[0] == "fatal" and row[3] == "failed")
    row[3] = "dead"


@breaks("R19")
def more_missing_than_failed(case):
    for row in case.rng.sample(copies(case), 2):
        case.final["jobs"]["letters"].remove(row)
    case.final["log"].append([1, "LOG:  copying a dead job to the dead letter queue failed: out of memory"])


@breaks("R19")
def delivered_and_gone(case):
    """The copy with its death, though somebody had it."""
    row = case.pick(copies(case))
    job = [job for job in case.jobs("letters") if job.key == row[1]][0]
    case.pick(job.deliveries)
    nothing_is_taken_away(case)
    case.final["jobs"]["letters"].remove(row)
    key, _, attempt = row[1].partition("#")
    number = [job.id for job in case.jobs("fatal") if job.key == key][0]
    case.final["outcomes"].remove(["fatal", number, number, "dead", int(attempt)])
