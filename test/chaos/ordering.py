"""R9: jobs of an ordering key run one at a time, in the order of their ids.

What is reported is certain: a job was there when a later one of its key was handed over, and no choice of
moments lets it have ended by then; or two of them were held at once. Whose enqueue commits late may find
that a later job has run, or runs.
"""
from collections import defaultdict

from limits import free_from
from lives import died_silently, published
from records import FOREVER


def judge_order(checker):
    keyed = defaultdict(list)
    for job in checker.history.jobs:
        if job.operation.ordering is not None and job.status == "committed" and job.id is not None:
            keyed[job.queue, job.operation.ordering].append(job)
    for (queue, _), jobs in keyed.items():
        if checker.queues[queue].get("max_running_per_key", 0) < 2:
            Turns(checker, sorted(jobs, key=lambda job: job.id)).judge()


class Turns:
    """Those of one key."""

    def __init__(self, checker, jobs):
        self.checker, self.jobs = checker, jobs
        self.dead_blocks = checker.queues[jobs[0].queue].get("on_dead_key", "block") == "block"

    def judge(self):
        for number, job in enumerate(self.jobs):
            begin, ends = published(self.checker, job), self.ends(job)
            for later in self.jobs[number + 1:]:
                self.checker.exercised["keyed pairs"] += 1
                self.in_order(job, begin, ends, later)
        self.alone()

    def ends(self, job):
        """All that may have let the next job start, as (from, until). What a crash took away was an end until then."""
        found = [(end.begin, self.until(job, end.begin, end.gone)) for end in job.ends + job.cancels
                 if end.gone is not None and (end.kind in ("ack", "cancel") or not self.dead_blocks and end.is_final)]
        known = any(end.status == "committed" and end.is_final for end in job.ends)
        died = self.checker.state_of(job) == "dead" and not known or job.revivals
        if not self.dead_blocks:
            found += [(begin, self.until(job, begin, FOREVER if died else self.taken_away(begin)))
                      for begin in died_silently(self.checker, job)]
        return found

    def taken_away(self, begin):
        """Until when a death may have stood that a standby or a copy did not know."""
        return max((stop.end for stop in self.checker.history.stops if stop.lossy_since is not None and stop.end > begin),
                   default=0)

    @staticmethod
    def until(job, begin, gone):
        """A dead job that is redriven is before the others again."""
        return min([gone] + [revival.end for revival in job.revivals
                             if revival.status == "committed" and revival.begin >= begin])

    def in_order(self, job, begin, ends, later):
        for delivery in later.deliveries:
            if delivery.begin < begin:
                continue
            if not any(since <= delivery.end and delivery.begin <= until for since, until in ends):
                self.checker.report("R9", f"{later.name}: {delivery.name} although {job.name} had not ended")
                return

    def alone(self):
        held = [(delivery, free_from(delivery)) for job in self.jobs for delivery in job.deliveries]
        for number, (first, first_free) in enumerate(held):
            for second, second_free in held[number + 1:]:
                if first.job is second.job:
                    continue
                together = first.lease is second.lease
                one_way = first.begin < second.end and first_free <= second.end
                other_way = second.begin < first.end and second_free <= first.end
                if together or not one_way and not other_way:
                    self.checker.report("R9", f"{first.job.name}: {first.name} while {second.job.name} was held"
                                              f" ({second.name})")
