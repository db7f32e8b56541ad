"""Jobs that are lost, come from nowhere, have two effects, or come again."""
from mutations import acked, breaks


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
    job = case.pick(job for job in case.jobs("gone") if not job.cancels)
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
