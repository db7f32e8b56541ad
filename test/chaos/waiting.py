"""R8: a job that is ready is delivered soon, if anybody asks for jobs, unless a fault is near."""
from bisect import bisect_left
from collections import defaultdict

from records import FOREVER, TERMINAL

SCATTERED = 272  # jobs: a claim of more may get fewer although more are ready


class Waits:
    def __init__(self, checker):
        self.checker = checker

    def judge(self):
        """R8. A claim that could have had more, while this job was ready for long and nobody had it."""
        short = defaultdict(list)
        paused = {operation.queue for operation in self.checker.history.operations if operation.op == "pause"}
        for operation in self.checker.history.operations:
            if operation.op == "claim" and operation.outcome == "ok" and operation.isolation == "read committed":
                for queue in exhausted(operation):
                    if queue not in paused:  # and if it was resumed, who knows when
                        short[queue].append(operation)
        for claims in short.values():
            claims.sort(key=last_look)
        for job in self.checker.history.jobs:
            # What a job with an ordering key waits for is another matter. And one that replaced another is due
            # when that was; one of a queue with a limit, when another has ended, or time has passed.
            operation = job.operation
            judged = (operation.ordering is None and operation.mode != "replace"
                      and not self.checker.queues[job.queue].get("max_running")
                      and not self.checker.queues[job.queue].get("rate_limit"))
            if job.status == "committed" and judged and short[job.queue]:
                self.neglected(job, short[job.queue])

    def neglected(self, job, claims):
        taken = self.checker.purges[job.queue] + [operation.t_invoke for operation in job.asked if operation.op == "cancel"]
        taken += self.checker.replacing[job.queue, job.operation.unique]
        for begin, ready, until, delivery in self.ready_spans(job):
            self.checker.exercised["calm waits"] += until < FOREVER and not self.checker.faults.meets(begin, until)
            until = min([until, *(time for time in taken if time > begin),
                         *(cancel.operation.t_invoke for cancel in job.cancels if cancel.end > begin)])
            claim = None
            if delivery is not None and delivery.end - max(ready, delivery.begin) > self.checker.patience:
                claim = delivery.lease.operation if delivery.lease.operation.wait else None
            elif until - ready >= self.checker.patience:
                claim = self.left_it(claims, bisect_left(claims, ready + self.checker.patience, key=last_look))
                claim = claim if claim and claim.t_return <= until else None
            if claim is None or self.checker.faults.meets(begin, claim.t_return):
                continue
            if not self.checker.hidden_claims(job.queue, begin, claim.t_return):
                self.checker.report("R8", f"{job.name}: ready for {claim.t_return - ready:.1f} s"
                                  f" at the end of {claim.name}")
                return

    def left_it(self, claims, index):
        """The first from there on that shows that the job was left. One that looks once and gets too few may have met, in
        the place of others, jobs that became due at that moment; two in a row are no chance."""
        if index == len(claims) or claims[index].wait >= self.checker.patience and not claims[index].jobs:
            return claims[index] if index < len(claims) else None
        following = (claims[number] for number in range(index + 1, len(claims)))
        return next((claim for claim in following if claim.t_invoke > claims[index].t_return), None)

    def ready_spans(self, job):
        """(may be ready from, is ready from, may be gone from, delivery) of each wait for a claim."""
        transaction = self.checker.history.transaction_of(job.operation)
        begin, ready = transaction.begin, transaction.end
        if job.operation.delay:
            begin = job.operation.t_invoke  # if the clock is set since, that is a fault, too
            ready = max(ready, job.operation.t_return + job.operation.delay)
        for delivery in job.deliveries:
            yield begin, ready, delivery.begin, delivery
            begin, ready = delivery.end, self.ready_again(job, delivery)
            if job.revivals:
                yield from self.revived_spans(job)
                return
        if self.checker.state_of(job) not in TERMINAL and not any(self.checker.is_final(end) for end in job.ends):
            yield begin, ready, FOREVER, None

    @staticmethod
    def revived_spans(job):
        for revival in job.revivals:
            if revival.status == "committed":
                following = next((delivery for delivery in job.deliveries if delivery.end > revival.begin), None)
                yield revival.begin, revival.end, following.begin if following else FOREVER, following

    def ready_again(self, job, delivery):
        queue = self.checker.queues[job.queue]
        ready = delivery.lease.deadline_high + queue["backoff_max"] * (1 + queue["backoff_jitter"])
        for end in delivery.ends:
            if end.status == "committed" and end.kind == "release":
                ready = min(ready, end.end)
            elif end.status == "committed" and end.kind == "nack" and end.operation.due is not None:
                ready = min(ready, max(end.end, end.operation.due))
        return ready


def exhausted(claim):
    """The queues in which a claim found fewer jobs than it would have taken. Of several it looks on in the next one only
    when one has nothing; by weights in an order that is not known."""
    if not claim.jobs:
        return claim.asked
    number = claim.asked.index(claim.queue) if claim.queue in claim.asked else 0
    passed_over = claim.asked[:number] if not claim.weights else []
    return passed_over + [claim.queue] * (len(claim.jobs) < min(claim.count, SCATTERED))


def last_look(claim):
    """When a claim found no more, at the latest but for a moment."""
    return claim.t_return if claim.wait and not claim.jobs else claim.t_invoke
