"""R16: of one unique key never two jobs are unfinished, and none is added in the time for which the one before keeps it.
R15: who was told that the key is taken was told the truth.

A job that is redriven has its key again, unless another has it by then: what comes after that is not judged.
"""
from collections import defaultdict

import clock
from lives import died_silently, published
from records import FOREVER


def judge_unique(checker):
    jobs, refusals = defaultdict(list), []
    for job in checker.history.jobs:
        if job.operation.unique is not None:
            jobs[job.queue, job.operation.unique].append(job)
    for operation in checker.history.operations:
        if operation.unique is not None and operation.outcome == "ok" and not operation.ids:
            refusals.append(operation)
    for found in jobs.values():
        committed = [job for job in found if job.status == "committed"]
        no_two_at_once(checker, committed)
        for job in committed:
            none_in_its_time(checker, job, committed)
    for refusal in refusals:
        checker.exercised["unique refused"] += 1
        found = jobs[refusal.queue, refusal.unique]
        if not any(may_have_key(checker, job, refusal) for job in found):
            checker.report("R15", f"{refusal.name}: no job had the key {refusal.unique}, yet it added none")


def ends_of(job):
    return [end for end in job.ends + job.cancels if end.gone is not None and (end.is_final or end.kind == "cancel")]


def no_two_at_once(checker, jobs):
    spans = []
    for job in jobs:
        ends = [end.begin for end in ends_of(job)] + list(died_silently(checker, job))
        ends += [time for time in checker.purges[job.queue] if time > job.operation.t_invoke]
        spans.append((published(checker, job), min(ends, default=FOREVER), job))
    spans.sort(key=lambda span: span[0])
    for number, (begin, end, job) in enumerate(spans):
        checker.exercised["unique jobs"] += 1
        for later, until, other in spans[number + 1:]:
            if later < min(end, until):
                checker.report("R16", f"{other.name} was there although {job.name} had its key {job.operation.unique}")


def none_in_its_time(checker, job, others):
    """Whatever became of the job; only who replaces it takes its time over, too."""
    if not job.operation.unique_for:
        return
    server, enqueue = checker.history.clock, job.operation
    begin = published(checker, job)
    until = enqueue.t_invoke + server.least(enqueue.t_invoke, enqueue.t_return) + enqueue.unique_for - clock.SLACK
    until = min([until, *(end.operation.t_invoke for end in job.cancels if end.operation.op == "enqueue")])
    for other in others:
        later = other.operation
        if begin < later.t_invoke and later.t_return + server.most(later.t_return) < until:
            checker.report("R16", f"{other.name} was added in the time for which {job.name} kept its key {enqueue.unique}")


def may_have_key(checker, job, refusal):
    """At any moment of the call; also one that was enqueued before in the same transaction."""
    enqueue, transaction = job.operation, checker.history.transaction_of(job.operation)
    if enqueue.t_invoke > refusal.t_return:
        return False
    if (enqueue.client, enqueue.tx) == (refusal.client, refusal.tx):
        return enqueue.undone is None or enqueue.undone >= refusal.t_invoke
    if job.status == "aborted" and transaction.lost_at is None or transaction.begin > refusal.t_return:
        return False
    ended = [end.end for end in ends_of(job) if end.status == "committed"]
    server = checker.history.clock  # which may have been set back since
    set_back = max(0, server.most(enqueue.t_return) - server.least(refusal.t_invoke, refusal.t_return))
    window = enqueue.unique_for and enqueue.unique_for + set_back + clock.SLACK
    until = max(min(ended, default=FOREVER), enqueue.t_return + window)
    return bool(job.revivals) or until >= refusal.t_invoke
