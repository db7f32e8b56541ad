"""More jobs run at once than may."""
from limits import most_at_once
from mutations import breaks


def held(case):  # (delivery, from when, until when) for certain, and for some time
    found = []
    for delivery in (delivery for job in case.jobs("limited") for delivery in job.deliveries):
        ends = [end.begin for end in delivery.ends + delivery.job.cancels if end.status != "aborted"]
        until = min([begin for begin, _ in delivery.lease.causes] + ends)
        if until - delivery.end > 0.01:
            found.append((delivery, delivery.end, until))
    return found


def more_beside(case, jobs, count, time):
    """They are claimed, and then forgotten."""
    for job in case.rng.sample(jobs, count):
        case.claim(job.deliveries[0], time)


@breaks("R17")
def too_many(case):
    delivery, begin, _ = case.pick(held(case))
    more_beside(case, [job for job in case.jobs("limited") if job.deliveries and not job.cancels
                       and job is not delivery.job], 3, begin + 0.002)


@breaks("R17")
def too_many_of_a_key(case):
    delivery, begin, _ = case.pick(one for one in held(case) if one[0].job.operation.ordering)
    more_beside(case, [job for job in case.jobs("limited") if job.deliveries and not job.cancels
                       and job is not delivery.job and job.operation.ordering == delivery.job.operation.ordering],
                2, begin + 0.002)


@breaks("R17")
def the_limit_was_lower(case):
    most, _ = most_at_once([(begin, end, delivery) for delivery, begin, end in held(case)])
    if most < 2:
        raise LookupError
    case.final["queues"]["limited"]["max_running"] = most - 1


@breaks("R17")
def the_limit_of_keys_was_lower(case):
    key = case.rng.choice("ef")
    most, _ = most_at_once([(begin, end, delivery) for delivery, begin, end in held(case)
                            if delivery.job.operation.ordering == key])
    if most < 2:
        raise LookupError
    case.final["queues"]["limited"]["max_running_per_key"] = most - 1
