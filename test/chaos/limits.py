"""R17: never more jobs of a queue, or of an ordering key, run than its limits say, as far as that is certain."""
from collections import defaultdict

from records import FOREVER, causes_of


def free_from(delivery):
    """Somebody may have had it from then on, or another in its place."""
    ends = [end.begin for end in delivery.ends + delivery.job.cancels if end.gone is not None]
    return min([begin for begin, _ in causes_of(delivery)] + ends, default=FOREVER)


def judge_limits(checker):
    held = defaultdict(list)
    for job in checker.history.jobs:
        options = checker.queues[job.queue]
        for delivery in job.deliveries:
            span = delivery.end, free_from(delivery), delivery
            if options.get("max_running"):
                held[job.queue, None, options["max_running"]].append(span)
            if options.get("max_running_per_key") and job.operation.ordering:
                held[job.queue, job.operation.ordering, options["max_running_per_key"]].append(span)
    for (queue, key, limit), spans in held.items():
        checker.exercised["limited"] += len(spans) if key is None else 0
        most, delivery = most_at_once(spans)
        if most > limit:
            checker.report("R17", f"{queue}: {most} jobs of {key or 'all'} ran at once, not {limit}, one of them"
                                  f" {delivery.job.name}, {delivery.name}")


def most_at_once(spans):
    events = [(begin, 1, delivery) for begin, end, delivery in spans if begin < end]
    events += [(end, -1, delivery) for begin, end, delivery in spans if begin < end]
    running, most, found = 0, 0, None
    for _, change, delivery in sorted(events, key=lambda event: event[:2]):
        running += change
        if running > most:
            most, found = running, delivery
    return most, found
