"""Holders are told what is not so, and others see what nobody reports; and good histories in which it looks so."""
from functools import wraps

from mutations import MUTATIONS
from synthetic_server import QUEUES

SOFT, HARD = QUEUES["hard"]["soft_time_limit"], QUEUES["hard"]["hard_time_limit"]


def breaks(rule):
    """By what is done with some jobs that are held."""
    def register(mutation):
        @wraps(mutation)
        def mutate(case):
            mutation(Held(case))
        MUTATIONS[rule].append(mutate)
        return mutate
    return register


class Held:
    """Two jobs that are held from 60.001 on for a second or longer, and what is done with them."""

    def __init__(self, case, queue="plain", until=61):
        self.case, self.rng, self.queue = case, case.rng, queue
        self.jobs = case.late_jobs(queue, 59, 2)
        self.ids = self.jobs["ids"]
        self.token = self.claim(60, lease=until - 60)

    def claim(self, time, **fields):
        return self.case.late_claim(self.jobs, time, **fields)["token"]

    def note(self, time, op, **fields):
        fields = {"queue": self.queue, "token": self.token, "ids": self.ids[:1], **fields}
        return self.case.note(time, op=op, **fields)

    def report(self, time, **fields):
        return self.note(time, "progress", **{"value": 1, **fields})

    def extend(self, time, **fields):
        return self.note(time, "extend", **{"ids": [], "lease": 1, **fields})

    def either(self, time, **fields):
        return self.rng.choice((self.report, self.extend))(time, **fields)

    def see(self, time, value, **fields):
        return self.note(time, "watch", **{"value": value, "token": None, **fields})

    def ack(self, time):
        self.note(time, "ack", ids=self.ids, count=2)

    def cancel(self, time, **fields):
        row = next(row for row in self.case.final["jobs"][self.queue] if row[0] == self.ids[0])
        row[2] = "cancelled"
        return self.note(time, "cancel", token=None, count=1, **fields)

    def restart(self, time):
        self.case.events.append({"event": "stop", "t_invoke": time, "t_return": time + 0.1, "stops": "restart"})


# ---- R6: whoever has lost the jobs

@breaks("R6")
def works_beside_another(held):
    held.claim(62)
    held.either(62.1)


@breaks("R6")
def works_after_the_ack(held):
    held.ack(60.5)
    held.either(60.6)


@breaks("R6")
def works_after_the_release(held):
    held.note(60.5, "release", ids=held.ids, whole=True)
    held.either(60.6)


@breaks("R6")
def works_for_a_job_of_others(held):
    other = Held(held.case)
    held.report(60.5, ids=other.ids[:1])


# ---- R21: what holders are told

@breaks("R21")
def cancelled_by_nobody(held):
    held.either(60.5, cancelled=held.ids[:1])


@breaks("R21")
def cancelled_too_early(held):
    held.either(60.5, cancelled=held.ids[:1])
    held.cancel(60.6)


@breaks("R21")
def cancelled_and_undone(held):
    cancel = held.cancel(60.4, auto=False)
    next(row for row in held.case.final["jobs"]["plain"] if row[0] == held.ids[0])[2] = "succeeded"
    held.case.note(60.41, client=cancel["client"], n=2, op="rollback", auto=False)
    held.either(60.5, cancelled=held.ids[:1])


@breaks("R21")
def nobody_tells_of_the_cancellation(held):
    held.cancel(60.4)
    held.either(60.5)


@breaks("R21")
def time_is_up_too_soon(held):
    hard = Held(held.case, "hard")
    hard.either(60 + SOFT * 0.9, soft=hard.ids[:1])


@breaks("R21")
def time_is_up_without_a_limit(held):
    held.either(60.9, soft=held.ids[:1])


@breaks("R21")
def nobody_tells_the_time(held):
    hard = Held(held.case, "hard")
    hard.either(60.01 + SOFT)


@breaks("R21")
def tells_of_some_only(held):
    hard = Held(held.case, "hard")
    hard.extend(60.01 + SOFT, soft=hard.ids[1:])


@breaks("R21")
def tells_of_others(held):
    hard = Held(held.case, "hard")
    hard.extend(60.01 + SOFT, soft=[*hard.ids, 7])


@breaks("R21")
def beyond_the_hard_limit(held):
    hard = Held(held.case, "hard")
    hard.extend(60.01 + HARD, soft=hard.ids)


@breaks("R21")
def refused_to_the_holder(held):
    held.either(60.3, outcome="fail", sqlstate="OQ001")
    held.report(60.4)


# ---- R21: what others see

@breaks("R21")
def never_reported(held):
    held.report(60.3)
    held.see(60.4, 2)


@breaks("R21")
def reported_later(held):
    held.see(60.4, 1)
    held.report(60.5)


@breaks("R21")
def reported_of_another_job(held):
    held.report(60.3, ids=held.ids[1:])
    held.see(60.4, 1)


@breaks("R21")
def replaced_since(held):
    held.report(60.3)
    held.report(60.35, value=2)
    held.see(60.4, 1)


@breaks("R21")
def seen_after_the_ack(held):
    held.report(60.3)
    held.ack(60.4)
    held.see(60.5, 1)


@breaks("R21")
def seen_of_an_earlier_holder(held):
    held.report(60.3)
    held.claim(62)
    held.see(62.1, 1)


@breaks("R21")
def forgotten(held):
    held.report(60.3)
    held.see(60.4, None)
    held.report(60.5, value=2)


@breaks("R21")
def refused_report_is_seen(held):
    held.report(60.3, outcome="fail", sqlstate="OQ001")
    held.see(60.4, 1)


# ---- good ones

def reported_in_time(case):
    held = Held(case, "hard", 60.3)
    held.report(60 + 0.3 * SOFT)
    held.see(60 + 0.5 * SOFT, 1)
    held.extend(60 + SOFT * case.rng.uniform(0.6, 0.99), lease=0.3)
    held.report(60.01 + SOFT, value=2, soft=held.ids[:1])
    held.see(60.015 + SOFT, 2)
    held.extend(60.02 + SOFT, soft=held.ids)
    held.ack(60.03 + SOFT)
    held.see(60.05 + SOFT, None)
    held.either(60.06 + SOFT, outcome="fail", sqlstate="OQ001")


def cancelled_meanwhile(case):
    """It may be told or not while the cancellation is under way, and is afterwards."""
    held = Held(case)
    held.cancel(60.3, t_return=60.4)
    held.report(60.35, cancelled=case.rng.choice(([], held.ids[:1])))
    held.extend(60.36, cancelled=case.rng.choice(([], held.ids[:1])))
    held.either(60.5, cancelled=held.ids[:1])
    held.see(60.55, None)
    held.note(60.6, "ack", ids=held.ids[1:], count=1)


def forgotten_in_a_restart(case):
    """The lease was in the journal, and begins anew; reports do not outlive it."""
    held = Held(case, "hard", 60.3)
    held.report(60 + 0.3 * SOFT)
    held.restart(60.1)
    held.see(60.2, None)
    held.extend(60.22)
    held.report(60.22, value=2)
    held.see(60.25, 2)
    held.ack(60.28)


def told_by_a_call_that_was_lost(case):
    held = Held(case)
    held.report(60.3, outcome="unknown", lost=True)
    held.see(60.4, 1)
    held.report(60.5, value=2, outcome="fail", sqlstate="57014")
    held.see(60.6, 2)
    held.ack(60.7)


def refused_while_others_tried_to_ack(case):
    """Their transaction was rolled back."""
    held = Held(case)
    ack = held.note(60.2, "ack", ids=held.ids, auto=False, effects=False)
    held.report(60.3, outcome="fail", sqlstate="OQ001")
    held.case.note(60.4, client=ack["client"], n=2, op="rollback", auto=False)
    held.report(60.5)
    held.ack(60.6)


def refused_after_a_claim_in_vain(case):
    """It was rolled back. Till the worker takes the lease away it cannot be extended, but its jobs can be ended."""
    held = Held(case)
    claim = next(record for record in case.records if record.get("token") == held.token)
    claim["auto"] = False
    held.case.note(60.1, client=claim["client"], n=2, op="rollback", auto=False)
    held.extend(60.2, outcome="fail", sqlstate="OQ001")
    held.report(60.3)
    held.ack(60.4)


def cancelled_before_its_id_was_given_again(case):
    """The database is restored from a dump that has neither the job nor its cancellation."""
    held = Held(case)
    for record in held.jobs, held.cancel(60.3):
        record["mark"] = True
    held.either(60.5, cancelled=held.ids[:1])
    case.events.append({"event": "restore", "t_invoke": 61, "t_return": 61.1, "stops": "crash", "lossy_since": 58.9, "moved": True})
    rows = case.final["jobs"]["plain"]
    rows[:] = [row for row in rows if row[0] not in held.ids] + [[number, f"again {number}", "succeeded", 1] for number in held.ids]
    again = case.note(62, op="enqueue", queue="plain", jobs=[[f"again {number}", "0"] for number in held.ids], ids=held.ids)
    case.deliver(again, 62.1)
