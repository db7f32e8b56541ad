"""R20: a queue with a rate delivers rate_burst jobs at once at most, and then as many as its rate allows; none in advance
after the server has started.

A delivery took effect between the call and the return of its claim, so it was in a window for certain if both were. What
a claim takes and cannot return it gives back: what was under way when the window began may have been given back in it.
"""
from bisect import bisect_left
from dataclasses import dataclass

SPAN = 500      # claims in a row: the longest window
SLACK = 0.001   # jobs, for what clocks round


@dataclass
class Rate:
    burst: int
    per_second: float

    @staticmethod
    def of(options):
        if not options.get("rate_limit"):
            return None
        return Rate(options.get("rate_burst") or options["rate_limit"], options["rate_limit"] / options["rate_period"])


def judge_rates(checker):
    for queue, options in checker.queues.items():
        if rate := Rate.of(options):
            Deliveries(checker, queue, rate).judge()


class Deliveries:
    """Of one queue."""

    def __init__(self, checker, queue, rate):
        self.checker, self.queue, self.rate = checker, queue, rate
        self.asked = [operation for operation in checker.history.operations
                      if operation.op == "claim" and queue in operation.asked]
        self.claims = sorted((claim for claim in self.asked if claim.outcome == "ok" and claim.queue == queue and claim.jobs),
                             key=lambda claim: claim.t_return)
        self.returns = [claim.t_return for claim in self.claims]

    def judge(self):
        self.checker.exercised["at a rate"] += sum(len(claim.jobs) for claim in self.claims)
        windows = [(claim.t_invoke, claim.t_invoke, self.rate.burst) for claim in self.claims]
        # Another database has buckets of its own; nobody knows since when.
        windows += [(stop.end, stop.begin, 0) for stop in self.checker.history.stops if not stop.moved]
        any(self.too_many(*window) for window in windows)  # one is enough

    def too_many(self, begin, filled_from, level):
        """In a window that begins then: the bucket held no more than that, and was filled from that time on."""
        delivered, first = 0, bisect_left(self.returns, begin)
        for claim in self.claims[first:first + SPAN]:
            if claim.t_invoke < begin:
                continue
            delivered += len(claim.jobs)
            allowed = level + self.rate.per_second * (claim.t_return - filled_from) + SLACK
            if delivered > allowed and delivered > allowed + self.given_back(begin) + self.moved(begin, claim.t_return):
                self.checker.report("R20", f"{self.queue}: {delivered} jobs in {claim.t_return - filled_from:.3f} s, until"
                                           f" {claim.name}, not {int(allowed)}")
                return True
        return False

    def given_back(self, begin):
        """At most, by claims that were under way then."""
        found = 0
        for claim in self.asked:
            until = claim.t_return if claim.outcome != "unknown" else self.checker.history.stop_after(claim.t_invoke)
            if claim.t_invoke < begin < until:
                found += min(claim.count, self.rate.burst + self.rate.per_second * (begin - claim.t_invoke))
        return found

    def moved(self, begin, end):
        """What another bucket held, when the database was moved in the meantime."""
        return sum(self.rate.burst for stop in self.checker.history.stops
                   if stop.moved and stop.begin < end and begin < stop.end)
