"""R19: each job that dies has one copy in the queue of dead letters. A copy is known by the job's key and its attempts.

The server makes them; so that they are judged as all other jobs are, they are given an enqueue here.
"""
import re
from collections import Counter

from records import FOREVER, SERVER, Job, Operation, Transaction

FAILED = re.compile("copying a dead job to the dead letter queue failed")  # the server log tells of it, and has to


def routes(history):
    return [(queue, options["dead_letter_queue"]) for queue, options in history.final["queues"].items()
            if options.get("dead_letter_queue")]


def collect_copies(history):
    """Those that are there in the end, and those that somebody got: if they are not there, they were lost."""
    for source, target in routes(history):
        there = dict.fromkeys(row[1] for row in history.final["jobs"][target])
        seen = dict.fromkeys(job[2] for operation in history.operations
                             if operation.op == "claim" and operation.queue == target for job in operation.jobs)
        for key in {**there, **seen}:
            original = history.by_key.get((source, key.rpartition("#")[0]))
            if original is not None:
                add_copy(history, original, target, key, "committed" if key in there else "lost")


def add_copy(history, original, target, key, status):
    """It was enqueued when the job died: not before the job was enqueued, and who knows when after that."""
    began = history.transaction_of(original.operation).begin
    enqueue = Operation(SERVER, len(history.jobs), "enqueue", began, tx=len(history.jobs), auto=True, outcome="ok",
                        queue=target)
    history.transactions[SERVER, enqueue.tx] = Transaction(SERVER, enqueue.tx, [enqueue], enqueue, status=status,
                                                            begin=began, end=FOREVER)
    job = Job(target, key, original.hash, enqueue, status=status)
    history.jobs.append(job)
    history.by_key[target, key] = job


def judge_letters(checker):
    told = sum(bool(FAILED.search(line)) for _, line in checker.final["log"])
    for source, target in routes(checker.history):
        deaths = Counter()
        for queue, first, last, outcome, attempt in checker.final["outcomes"]:
            if queue == source and outcome == "dead":
                deaths.update(f"{checker.rows[queue, number][1]}#{attempt}" for number in range(first, last + 1)
                              if (queue, number) in checker.rows)
        copies = Counter(row[1] for row in checker.final["jobs"][target] if "#" in row[1])
        checker.exercised["dead letters"] += len(copies)
        for name, count in copies.items():
            if count > deaths[name]:
                checker.report("R19", f"{source}: {deaths[name]} deaths of {name}, and {count} copies")
        missing = deaths - copies
        if missing.total() > told:
            checker.report("R19", f"{source}: no copy of {', '.join(sorted(missing)[:5])};"
                                  f" {missing.total()} are missing, {told} failed")
        for job in checker.history.jobs:
            if job.queue == target and job.status == "lost":
                vanished(checker, job)


def vanished(checker, job):
    for delivery in job.deliveries:
        if not checker.history.forgets_what_was_delivered(delivery):
            checker.report("R19", f"{job.queue}: the copy {job.key} was delivered ({delivery.name}), and is not there")
            return
