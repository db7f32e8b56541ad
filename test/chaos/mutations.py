"""To spoil a good history, in ways that each break the rule they are registered for: mutations_*.py."""
import pickle
import random
from functools import cache

from checker import RULES, Checker
from history import History
from synthetic import make_history

MUTATIONS = {rule: [] for rule in RULES}


class Case:
    """A good history to be spoilt: what it says, and the records to change."""

    def __init__(self, seed):
        self.records, self.events, self.final = pickle.loads(frozen(seed))
        self.history = original_history(seed)
        self.rng = random.Random(seed)
        self.by_name = {(record["client"], record["n"]): record for record in self.records}

    def record(self, operation):
        return self.by_name[operation.client, operation.n]

    def pick(self, found):
        """One of these, at random; LookupError if there is none, and then another history is tried."""
        return self.rng.choice(list(found))

    def jobs(self, *queues):
        return [job for job in self.history.jobs
                if job.status == "committed" and job.id is not None and (not queues or job.queue in queues)]

    def row(self, job):
        return [row for row in self.final["jobs"][job.queue] if row[0] == job.id][0]

    def add(self, like, **changes):
        """Another record like that one, by a client of its own."""
        record = {**self.record(like), "client": f"x{len(self.records)}", "n": 1, "tx": 1, "auto": True, **changes}
        self.records.append(record)
        self.by_name[record["client"], 1] = record
        return record

    def claim(self, delivery, time, attempt=None):
        """A claim by a stranger, at that time, that gets the job of this delivery again."""
        job = delivery.job
        return self.add(delivery.lease.operation, t_invoke=time, t_return=time + 0.001, outcome="ok",
                        token=self.rng.randrange(10**6, 10**9), hold="time",
                        jobs=[[job.id, attempt or delivery.attempt, job.key, job.hash]])

    # When all else is long over:

    def note(self, time, **fields):
        """What a stranger does, within a moment."""
        self.records.append({"client": f"x{len(self.records)}", "n": 1, "tx": 1, "auto": True, "t_invoke": time,
                             "t_return": time + 0.001, "outcome": "ok", **fields})
        return self.records[-1]

    def late_jobs(self, queue, time, count=1):
        """Enqueued at that time, and some day acked: their rows."""
        first = 10_000 + len(self.final["jobs"][queue])
        ids = list(range(first, first + count))
        self.final["jobs"][queue] += [[number, f"late {number}", "succeeded", 1] for number in ids]
        return self.note(time, op="enqueue", queue=queue, jobs=[[f"late {number}", "0"] for number in ids], ids=ids)

    def deliver(self, enqueue, time, **fields):
        """And acked."""
        queue, ids = enqueue["queue"], enqueue["ids"]
        claim = self.late_claim(enqueue, time, **fields)
        self.note(time + 0.01, op="ack", queue=queue, token=claim["token"], ids=ids, count=len(ids))
        return claim

    def late_claim(self, enqueue, time, **fields):
        jobs = [[number, 1, *job] for number, job in zip(enqueue["ids"], enqueue["jobs"])]
        return self.note(time, **{"op": "claim", "queue": enqueue["queue"], "token": self.rng.randrange(10**6, 10**9),
                                  "lease": 1, "count": len(jobs), "jobs": jobs, **fields})

    def forget_transaction(self, transaction):
        mark = [transaction.client, transaction.number]
        if mark in self.final["marks"]:
            self.final["marks"].remove(mark)
        self.final["effects"] = [row for row in self.final["effects"] if row[3:] != mark]

    def verdict(self):
        checker = Checker(History(self.records, self.events, self.final))
        checker.run()
        return checker.broken


@cache
def frozen(seed):
    return pickle.dumps(make_history(seed))


@cache
def original_history(seed):
    return History(*pickle.loads(frozen(seed)))


def breaks(rule):
    def register(mutation):
        MUTATIONS[rule].append(mutation)
        return mutation
    return register


def acked(case, *queues):  # (job, its committed ack) where both are certain
    return [(job, end) for job in case.jobs(*queues) for end in job.ends
            if end.kind == "ack" and end.status == "committed" and end.end < 100]


def unhurried(case, job):
    """Whether no fault came near the job from its enqueue on."""
    begin = job.operation.t_invoke - 0.1
    end = max((delivery.lease.operation.t_return for delivery in job.deliveries), default=begin)
    return not any(event["t_invoke"] <= end and event["t_return"] >= begin for event in case.events)
