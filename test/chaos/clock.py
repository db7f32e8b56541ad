"""The server's clock, which the nemesis may set: how far it can have been ahead of the history's own. And spans of time."""
from bisect import bisect_left
from dataclasses import dataclass

SLACK = 0.02  # s: between the wall clock and the monotonic one of the history


@dataclass
class Step:
    begin: float
    end: float
    before: float
    after: float


class Clock:
    def __init__(self, events):
        self.steps = [Step(event["t_invoke"], event["t_return"], *event["clock"])
                      for event in events if event.get("clock")]

    def least(self, begin, end):
        """In a statement of that time."""
        now = 0
        for step in self.steps:
            if step.end < begin:
                now = step.after
        return min([now, *(min(step.before, step.after) for step in self.steps
                           if step.end >= begin and step.begin <= end)])

    def most(self, time):
        """At any moment until then: some process may have looked at it before, and act now."""
        return max([0, *(step.after for step in self.steps if step.begin <= time)])


class Intervals:
    """Times that are covered by any of many intervals."""

    def __init__(self, pairs):
        self.begins, self.ends = [], []
        for begin, end in sorted(pairs):
            if self.ends and begin <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], end)
            else:
                self.begins.append(begin)
                self.ends.append(end)

    def meets(self, begin, end):
        index = bisect_left(self.ends, begin)
        return index < len(self.ends) and self.begins[index] <= end
