"""What befalls a job without a token: it is cancelled, or redriven when it is dead. And whether the answers were true.

R1, R4, R6, R7 and R11 of such jobs are judged in checker.py; here is what only they have.
"""
from records import COUNTED, FOREVER, causes_of


def revived_between(job, end, time):
    """Whether a death may have been undone by then."""
    return end.kind != "ack" and any(revival.begin <= time and revival.end >= end.begin for revival in job.revivals)


def died_silently(checker, job):
    """Since when an expiry, or a claim that was rolled back, may have used up the attempts."""
    limit = checker.limit_of(job)
    for delivery in job.deliveries:
        if delivery.attempt >= limit:
            yield min((begin for begin, cause in causes_of(delivery) if cause in COUNTED), default=FOREVER)
    attempts = {delivery.attempt for delivery in job.deliveries}
    seen = max(attempts, default=0)
    hidden = checker.hidden_claims(job.queue, job.operation.t_invoke, FOREVER)
    if hidden and (seen < limit <= seen + hidden or not attempts.issuperset(range(limit, seen))):
        yield 0  # nobody saw the last attempt, of this life or of an earlier one


def published(checker, job):
    """By then everybody could see it."""
    seen = min((delivery.end for delivery in job.deliveries), default=FOREVER)
    return min(seen, checker.history.transaction_of(job.operation).end)


def replaced_and_forgotten(checker, job):
    """Since when another of its unique key may have taken its place, until a crash took that one away."""
    if job.operation.unique is None:
        return
    for other in checker.history.jobs:
        if other is not job and (other.queue, other.operation.unique) == (job.queue, job.operation.unique):
            transaction = checker.history.transaction_of(other.operation)
            if transaction.lost_at is not None:
                yield transaction.begin


class Lives:
    """Of one job."""

    def __init__(self, checker, job):
        self.checker, self.job = checker, job
        self.deaths = [end for end in job.ends if end.gone is not None and end.is_final and end.kind != "ack"]

    def judge(self):
        for cancel in self.job.cancels:
            if cancel.status == "committed":
                self.checker.exercised["cancelled" if cancel.operation.op == "cancel" else "replaced"] += 1
                self.cancelled(cancel)
        self.checker.exercised["redriven"] += sum(revival.status == "committed" for revival in self.job.revivals)
        for operation in self.job.asked:
            if operation.outcome == "ok":
                (self.answer_of_cancel if operation.op == "cancel" else self.answer_of_redrive)(operation)

    def cancelled(self, cancel):
        job, name = self.job, cancel.operation.name
        state = self.checker.state_of(job)
        if state not in (None, "cancelled"):
            self.checker.report("R4", f"{job.name}: cancelled by {name}, but it is {state}")
        for delivery in job.deliveries:
            if delivery.begin > cancel.end:
                self.checker.report("R4", f"{job.name}: {delivery.name} although {name} had cancelled it")
        for end in job.ends:
            if end.status == "committed" and end.begin > cancel.end:
                self.checker.report("R6", f"{job.name}: {end.operation.name} worked although {name} had cancelled it")
            if end.status == "committed" and end.kind == "ack":
                self.checker.report("R3", f"{job.name}: cancelled by {name} and acked by {end.operation.name}")

    def answer_of_cancel(self, operation):
        """No: it has ended, or was never there. Others that are about to end it are told of by an error."""
        if operation.count or published(self.checker, self.job) > operation.t_invoke:
            return
        ends = [end.begin for end in self.job.ends + self.job.cancels if end.gone is not None
                and (end.is_final or end.kind == "cancel")]
        ends += self.checker.purges[self.job.queue]
        ends += died_silently(self.checker, self.job)
        ends += replaced_and_forgotten(self.checker, self.job)
        if min(ends, default=FOREVER) > operation.t_return:
            self.checker.report("R15", f"{self.job.name}: {operation.name} found nothing to cancel")

    def answer_of_redrive(self, operation):
        deaths = [end.begin for end in self.deaths] + list(died_silently(self.checker, self.job))
        if operation.count and min(deaths, default=FOREVER) > operation.t_return:
            self.checker.report("R15", f"{self.job.name}: {operation.name} redrove it, but it was not dead")
        others = (other.t_invoke for other in self.job.asked if other is not operation)
        certain = any(end.status == "committed" and end.end < operation.t_invoke for end in self.deaths)
        if not operation.count and certain and min(others, default=FOREVER) > operation.t_return:
            self.checker.report("R15", f"{self.job.name}: {operation.name} redrove nothing, but it was dead")
