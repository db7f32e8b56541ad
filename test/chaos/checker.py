#!/usr/bin/env python3
"""Decides whether a history keeps onceq's promises.

    checker.py FOLDER [--patience SECONDS]

One line per rule; exit status 1 if any is broken, 2 if the history cannot be read. What is reported is
certain: each operation took effect at some moment between its call and its return, and a rule is broken
only if no choice of these moments keeps it. README.md has the rules and the format of a history.
"""
import argparse
import re
import sys
from collections import Counter, defaultdict

import clock
from clock import Intervals
from history import History
from ledger import judge_ledger
from letters import judge_letters
from limits import judge_limits
from lives import Lives, revived_between
from ordering import judge_order
from rates import judge_rates
from records import COUNTED, FOREVER, SERVER, TERMINAL, cause_before, causes_of
from reports import judge_reports
from unique import judge_unique
from waiting import Waits

RULES = {
    "R1": "no job is lost",
    "R2": "no job from nowhere",
    "R3": "no effect twice",
    "R4": "no ended job comes again",
    "R5": "no two holders at once",
    "R6": "no token works once another was granted",
    "R7": "attempts are counted",
    "R8": "a ready job is delivered",
    "R9": "keyed jobs keep their order",
    "R10": "no job before it is due",
    "R11": "what went in is there or has ended",
    "R12": "nothing is left behind",
    "R13": "the server log is clean",
    "R14": "payloads come out as they went in",
    "R15": "answers are true",
    "R16": "unique keys are",
    "R17": "limits hold",
    "R18": "an event takes effect once",
    "R19": "each dead job has its copy",
    "R20": "rates hold",
    "R21": "holders are told the truth",
}
SHOWN = 10          # examples of one rule


class Checker:
    def __init__(self, history, patience=2.0):
        self.history = history
        self.final = history.final
        self.queues = history.final["queues"]
        self.patience = patience
        self.broken = defaultdict(list)
        self.duplicates = Counter()
        self.exercised = Counter()
        self.faults = Intervals((e["t_invoke"], (e.get("t_return") or FOREVER) + e.get("calm_after", 0))
                                for e in history.events if e.get("fault", True))
        self.hidden = defaultdict(list)
        for operation in history.operations:
            if operation.op == "claim" and operation.outcome != "ok":
                end = operation.t_return if operation.outcome == "fail" else history.stop_after(operation.t_invoke)
                for queue in operation.asked:
                    self.hidden[queue].append((operation.t_invoke, end))
        self.purges, self.replacing = defaultdict(list), defaultdict(list)
        for operation in history.operations:
            if operation.op == "purge":
                self.purges[operation.queue].append(operation.t_invoke)
            if operation.mode != "skip":
                self.replacing[operation.queue, operation.unique].append(operation.t_invoke)
        self.rows = {(queue, row[0]): row for queue, rows in self.final["jobs"].items() for row in rows}

    def report(self, rule, text):
        self.broken[rule].append(text)

    def run(self):
        for rule, text in self.history.problems:
            self.report(rule, text)
        for job in self.history.jobs:
            self.job(job)
        for check in (self.counts, self.phantoms, self.effects, self.outcomes, self.conservation,
                      self.leaks, self.log):
            check()
        Waits(self).judge()
        judge_order(self)
        judge_unique(self)
        judge_limits(self)
        judge_ledger(self)
        judge_letters(self)
        judge_rates(self)
        judge_reports(self)
        return not self.broken

    # ---- job by job

    def job(self, job):
        if job.status == "aborted":
            self.exercised["aborted enqueues"] += 1
            lost_at = self.history.transaction_of(job.operation).lost_at or 0
            seen = any(delivery.begin > lost_at for delivery in job.deliveries)
            if seen or self.rows.get((job.queue, job.id), [0, None])[1] == job.key:
                self.report("R2", f"{job.name}: its enqueue was rolled back")
            return
        if job.status in ("unknown", "lost"):
            return
        self.exercised["jobs"] += 1
        self.lost(job)
        self.delivered(job)
        for later in range(1, len(job.deliveries)):
            for earlier in range(later):
                self.pair(job, job.deliveries[earlier], job.deliveries[later], later == earlier + 1)
        self.ended(job)
        self.dead(job)
        Lives(self, job).judge()

    def state_of(self, job):
        row = self.rows.get((job.queue, job.id))
        return row[2] if row is not None and row[1] == job.key else None

    def lost(self, job):
        """R1. Where jobs are kept the tables tell; else a committed end must be in the history."""
        state = self.state_of(job)
        may_be_ended = [end for end in job.ends if end.kind == "ack" and end.status != "aborted"]
        if not self.queues[job.queue]["retained"]:
            if state not in TERMINAL and not job.cancels and not any(self.is_final(end) for end in job.ends):
                self.report("R1", f"{job.name}: enqueued, never ended, and not there")
        elif state is None:
            self.report("R1", f"{job.name}: enqueued, and not there")
        elif state not in TERMINAL:
            self.report("R1", f"{job.name}: still {state} when all was drained")
        elif state == "succeeded" and not may_be_ended:
            self.report("R1", f"{job.name}: succeeded, but nobody has acked it")
        elif state == "cancelled" and not job.cancels and not self.purges[job.queue]:
            self.report("R1", f"{job.name}: cancelled, but by nobody")

    @staticmethod
    def is_final(end):
        return end.status != "aborted" and end.is_final

    def limit_of(self, job):
        return job.operation.max_attempts or self.queues[job.queue]["max_attempts"]

    def delivered(self, job):
        limit = self.limit_of(job)
        transaction = self.history.transaction_of(job.operation)
        for delivery in job.deliveries:
            self.exercised["deliveries"] += 1
            self.exercised["of several"] += bool(delivery.lease.operation.queues)
            if delivery.hash != job.hash:
                self.report("R14", f"{job.name}: {delivery.name} got another payload")
            if delivery.end < transaction.begin:
                self.report("R2", f"{job.name}: {delivery.name} was before the commit")
            if delivery.end + self.history.clock.most(delivery.end) < self.due(job.operation) - clock.SLACK:
                self.report("R10", f"{job.name}: {delivery.name} came too early")
            if delivery.attempt > limit * (1 + sum(revival.begin <= delivery.end for revival in job.revivals)):
                self.report("R7", f"{job.name}: {delivery.name}, of {limit}")
        if job.deliveries:
            self.first_attempt(job, job.deliveries[0])

    def due(self, enqueue):
        """By the server's clock, at the earliest."""
        return enqueue.t_invoke + self.history.clock.least(enqueue.t_invoke, enqueue.t_return) + enqueue.delay

    def first_attempt(self, job, delivery):
        at_most = 1 + self.hidden_claims(job.queue, job.operation.t_invoke, delivery.end)
        at_most += sum(other.begin < delivery.end for other in job.deliveries[1:])
        if not 1 <= delivery.attempt <= at_most:
            self.report("R7", f"{job.name}: first seen as {delivery.name}")

    def hidden_claims(self, queue, begin, end):
        """Claims whose rows nobody saw: they may have counted an attempt."""
        return sum(begin <= to and since <= end for since, to in self.hidden[queue])

    # ---- two deliveries of a job

    def pair(self, job, first, second, neighbours):
        cause = cause_before(first, second.end) if first.begin < second.end else None
        other_way = cause_before(second, first.end) if second.begin < first.end else None
        if neighbours:
            self.duplicates[cause or other_way or "unexplained"] += 1
        if cause is None and other_way is None:
            self.report("R5", f"{job.name}: {first.name} still held it at {second.name}")
        if first.end > second.begin:
            return  # who was first is not certain
        forgets = self.history.forgets(first.end, second.end)
        if second.attempt < first.attempt and not forgets:
            self.report("R7", f"{job.name}: {second.name} after {first.name}")
        for end in first.ends:
            if end.status == "committed":
                self.fence(job, first, second, end)
            if end.kind == "nack" and end.status == "committed":
                self.not_before(job, end, second)
        if neighbours and not forgets:
            self.counted(job, first, second)

    def fence(self, job, first, second, end):
        if second.end < end.begin:
            rule, text = "R6", f"{first.name} ended it ({end.operation.name}) after {second.name}"
        elif not self.is_final(end) or revived_between(job, end, second.end):
            return
        elif second.begin <= end.end:  # before the end, or after it
            rule, text = "R6", f"{first.name} ended it ({end.operation.name}) beside {second.name}"
        else:
            rule, text = "R4", f"{second.name} although {first.name} had ended it ({end.kind})"
        self.report(rule, f"{job.name}: {text}")

    def not_before(self, job, end, second):
        """R10 after a nack."""
        due = end.operation.due
        if due is not None and second.end + self.history.clock.most(second.end) < due - clock.SLACK:
            self.report("R10", f"{job.name}: {second.name} before the nack's due time")

    def counted(self, job, first, second):
        feasible = {cause for begin, cause in causes_of(first) if begin <= second.end}
        if not feasible:
            return
        least = 1 if feasible <= COUNTED else 0
        most = 0 if feasible == {"release"} else 1
        most += self.hidden_claims(job.queue, first.begin, second.end)
        most += sum(other.begin <= second.end and other.end >= first.begin
                    for other in job.deliveries if other not in (first, second))
        if not least <= second.attempt - first.attempt <= most:
            self.report("R7", f"{job.name}: {second.name} after {first.name} and {', '.join(sorted(feasible))}")

    # ---- a job's end

    def ended(self, job):
        """R4: what was ended for certain is so in the end."""
        state = self.state_of(job)
        for end in job.ends:
            if state is None or end.status != "committed" or not self.is_final(end):
                continue
            wanted = "succeeded" if end.kind == "ack" else "dead"
            if wanted == "dead" and (revived_between(job, end, FOREVER) or self.is_cancelled_when_dead(job, end)):
                continue
            if state != wanted:
                self.report("R4", f"{job.name}: {end.kind} {end.operation.name} was committed, but it is {state}")

    def is_cancelled_when_dead(self, job, end):
        """Which may be done with those that hold up their key."""
        return (job.operation.ordering is not None and self.queues[job.queue].get("on_dead_key") == "block"
                and any(cancel.end >= end.begin for cancel in job.cancels))

    def dead(self, job):
        """R7: dead exactly when rejected, or all attempts are used up."""
        row = self.rows.get((job.queue, job.id))
        if row is None or row[1] != job.key:
            return
        limit = self.limit_of(job)
        state, attempt, revivals = row[2], row[3], len(job.revivals)
        rejected = any(end.kind == "reject" and end.status != "aborted" for end in job.ends)
        certain = all(revival.status == "committed" for revival in job.revivals)
        if state == "dead" and not rejected and certain and attempt != limit * (1 + revivals):
            self.report("R7", f"{job.name}: dead after {attempt} attempts of {limit}, redriven {revivals} times")
        if attempt > limit * (1 + revivals):
            self.report("R7", f"{job.name}: {attempt} attempts of {limit}")
        nacks = sum(end.kind == "nack" and end.status == "committed" for end in job.ends)
        if attempt < nacks + (state == "succeeded"):
            self.report("R7", f"{job.name}: {nacks} nacks, but {state} with attempt {attempt}")

    def counts(self):
        """R6: an ack ends what its token holds, no more and no less. And a lease is gone with its claim."""
        for operation in self.history.operations:
            if (operation.op == "ack" and operation.count != len(operation.ids)
                    and self.history.status_of(operation) == "committed" and operation.outcome == "ok"):
                self.report("R6", f"{operation.name} acked {operation.count} jobs, not {len(operation.ids)}")
        for lease in self.history.leases.values():
            undone = self.history.transaction_of(lease.operation).ending
            for extension in lease.extensions if undone and undone.op == "rollback" and undone.outcome == "ok" else ():
                if extension.outcome == "ok" and extension.t_invoke > undone.t_return:
                    self.report("R6", f"{extension.name} extended what {undone.name} had undone")

    # ---- what does not belong to a known job

    def phantoms(self):
        for operation, number, key in self.history.strangers:
            self.report("R2", f"{operation.name} delivered {operation.queue}/{number} ({key}), never enqueued")
        owner = {}
        for job in self.history.jobs:
            if job.id is None or job.status == "lost":
                continue
            other = owner.setdefault((job.queue, job.id), job)
            if other is not job and not self.lost_between(job.operation, other.operation):
                self.report("R2", f"{job.name}: its id was given to {other.key} as well")
        for (queue, number), row in self.rows.items():
            job = self.history.by_key.get((queue, row[1]))
            if job is None:
                self.report("R2", f"{queue}/{number} ({row[1]}) is there, but was never enqueued")
            elif job.id != number:
                self.report("R2", f"{job.name} is there as {number}, too")
        for (_, number), delivery in self.history.by_id.items():
            if delivery.job.id != number and not self.is_copied_again(delivery):
                self.report("R2", f"{delivery.job.name} was delivered as {number}, too")

    def is_copied_again(self, delivery):
        """The death is taken away with its copy; the job dies once more, by the same attempt."""
        return delivery.job.operation.client == SERVER and self.history.forgets_what_was_delivered(delivery)

    def lost_between(self, first, second):
        """A standby that took over may not know that ids were given out shortly before."""
        begin, end = min(first.t_invoke, second.t_invoke), max(first.t_return, second.t_return)
        return any(stop.lossy_since is not None and begin < stop.end and end > stop.begin
                   for stop in self.history.stops)

    def effects(self):
        """R3, and R1: an ack that came true has brought its effect along."""
        counts = Counter((queue, number) for queue, number, *_ in self.final["effects"])
        for (queue, number), count in counts.items():
            self.exercised["effects"] += 1
            if count > 1:
                self.report("R3", f"{queue}/{number}: {count} effects")
        acks = defaultdict(set)
        for job in self.history.jobs:
            for end in job.ends:
                if end.kind != "ack" or end.status != "committed":
                    continue
                acks[job.queue, job.id].add(end.operation.name)
                if end.operation.effects and (job.queue, job.id) not in counts:
                    self.report("R1", f"{job.name}: acked by {end.operation.name}, but without effect")
        for (queue, number), names in acks.items():
            if len(names) > 1:
                self.report("R3", f"{queue}/{number}: acked by {', '.join(sorted(names))}")

    def outcomes(self):
        """R3, R7: what the tables of outcomes say of each job."""
        finals, failures = Counter(), Counter()
        blocking = {(job.queue, job.id) for job in self.history.jobs if job.cancels and job.operation.ordering}
        for queue, first, last, outcome, attempt in self.final["outcomes"]:
            for number in range(first, last + 1):
                if outcome in ("acked", "dead", "cancelled"):
                    finals[queue, number] += outcome != "dead" or (queue, number) not in blocking
                elif outcome == "redriven":
                    finals[queue, number] -= 1
                elif outcome == "failed":
                    failures[queue, number, attempt] += 1
        for (queue, number), count in finals.items():
            if count > 1:
                self.report("R3", f"{queue}/{number}: ended {count} times")
        for (queue, number, attempt), count in failures.items():
            if count > 1:
                self.report("R7", f"{queue}/{number}: attempt {attempt} failed {count} times")

    # ---- the end of the run

    def conservation(self):
        stats = {row["queue"]: row for row in self.final["stats"]}
        purged = Counter()
        for operation in self.history.operations:
            if operation.op == "purge" and operation.outcome == "ok" and self.history.status_of(operation) != "aborted":
                purged[operation.queue] += operation.count
        for queue, options in self.queues.items():
            states = Counter(row[2] for row in self.final["jobs"].get(queue, []))
            live = sum(states.values()) - sum(states[state] for state in TERMINAL)
            counted = sum(stats[queue][name] for name in ("ready", "scheduled", "running"))
            if live != counted:
                self.report("R11", f"{queue}: {live} live jobs in the tables, {counted} on the board")
            if not options["retained"]:
                continue
            wanted = sum(job.queue == queue and job.status == "committed" for job in self.history.jobs)
            if sum(states.values()) != wanted:
                self.report("R11", f"{queue}: {wanted} jobs enqueued, {sum(states.values())} there or ended")
            asked = [job for job in self.history.jobs
                     if job.queue == queue and job.cancels and self.state_of(job) == "cancelled"]
            certain = sum(any(cancel.status == "committed" for cancel in job.cancels) for job in asked)
            left = states["cancelled"] - purged[queue]
            if not self.hides_purges(queue) and not certain <= left <= len(asked):
                self.report("R11", f"{queue}: {purged[queue]} jobs purged, {certain} to {len(asked)} cancelled,"
                                   f" {states['cancelled']} are so")
        for row in self.final["audit"]:
            self.report("R11", f"audit: {row}")
        for operation in self.history.operations:
            if operation.op == "audit" and operation.count > 0:
                self.report("R11", f"audit {operation.name} of {operation.queue}: {operation.count} differences")

    def hides_purges(self, queue):
        return any(operation.op == "purge" and operation.queue == queue and operation.outcome == "unknown"
                   for operation in self.history.operations)

    def leaks(self):
        for what in ("leases", "journal", "tables", "locks"):
            for row in self.final[what]:
                self.report("R12", f"{what}: {row}")

    def log(self):
        killed = {event["pid"] for event in self.history.events if event.get("pid")}
        crashes = Intervals((stop.begin, stop.end) for stop in self.history.stops if stop.kind == "crash")
        no_room = Intervals((event["t_invoke"], event["t_return"] + event["calm_after"])
                            for event in self.history.events if event.get("full"))
        for time, line in self.final["log"]:
            signal = re.search(r"\(PID (\d+)\) was terminated by signal (\d+)", line)
            expected = crashes.meets(time, time)
            if signal:
                ours = signal[2] == "9" and (int(signal[1]) in killed or expected)
                ours = ours or signal[2] == "6" and expected and no_room.meets(time, time)  # after a PANIC
            else:
                ours = (not is_strange(line) or "reinitializing" in line and expected
                        or NO_ROOM.search(line) and no_room.meets(time, time))
            if not ours:
                self.report("R13", line)


STRANGE = re.compile(
    r"PANIC|TRAP:|could not|terminated by signal|exited with exit code [3-9]|reinitializing| XX\d\d\d ")
# Of the provoked ones; and what follows a line that is judged by itself.
HARMLESS = re.compile(
    r"could not (receive data from|send data to|serialize access|obtain lock on relation|connect to the primary|start WAL streaming)"
    r"|fault at \"|could not open directory \"(base|pg_tblspc)/[^\"]*\": No such file or directory| (CONTEXT|DETAIL|HINT|STATEMENT):  ")

NO_ROOM = re.compile(r"No space left on device|wrote only \d+ of \d+ bytes|could not write init file")


def is_strange(line):
    return bool(STRANGE.search(line)) and not HARMLESS.search(line)


def describe(checker, prefix="", first=1, out=sys.stdout):
    """The verdict as TAP, with examples where a rule is broken; then what was seen."""
    for number, (rule, meaning) in enumerate(RULES.items(), first):
        found = checker.broken.get(rule, [])
        idle = " # SKIP no ordering keys" if rule == "R9" and not checker.exercised["keyed pairs"] else ""
        print(f"{'not ' * bool(found)}ok {number} - {prefix}{rule} {meaning}{idle}", file=out)
        for text in found[:SHOWN]:
            print(f"#   {text}", file=out)
        if len(found) > SHOWN:
            print(f"#   and {len(found) - SHOWN} more", file=out)
    print(f"# jobs cancelled: {checker.exercised['cancelled']}, redriven: {checker.exercised['redriven']}", file=out)
    print(f"# deliveries of queues with a limit: {checker.exercised['limited']}, at a rate: {checker.exercised['at a rate']}",
          file=out)
    print(f"# events: {checker.exercised['events']}, met again: {checker.exercised['events again']}", file=out)
    print(f"# reports of holders: {checker.exercised['reports']}, told to stop: {checker.exercised['told to stop']},"
          f" seen by others: {checker.exercised['reports seen']}", file=out)
    print(f"# dead letters: {checker.exercised['dead letters']}", file=out)
    print(f"# unique jobs: {checker.exercised['unique jobs']}, refused: {checker.exercised['unique refused']},"
          f" replaced: {checker.exercised['replaced']}", file=out)
    causes = ", ".join(f"{count} {cause}" for cause, count in checker.duplicates.most_common())
    print(f"# jobs with checked fate: {checker.exercised['jobs']},"
          f" and {checker.exercised['aborted enqueues']} rolled back", file=out)
    lost = sum(transaction.lost_at is not None for transaction in checker.history.transactions.values())
    print(f"# commits taken away by a crash, as they may be: {lost}", file=out)
    print(f"# deliveries: {checker.exercised['deliveries']}, {checker.exercised['of several']} of them by a claim over"
          f" several queues; effects: {checker.exercised['effects']}", file=out)
    print(f"# pairs of jobs with one ordering key: {checker.exercised['keyed pairs']}", file=out)
    print(f"# waits for delivery without a fault: {checker.exercised['calm waits']}", file=out)
    print(f"# repeated deliveries by cause: {causes or 'none'}", file=out)
    print(f"# unexplained duplicates: {checker.duplicates['unexplained']}", file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds a ready job may wait (R8)")
    arguments = parser.parse_args()
    try:
        checker = Checker(History.load(arguments.folder), arguments.patience)
    except (OSError, ValueError, KeyError) as error:
        print(f"cannot read the history: {error!r}", file=sys.stderr)
        return 2
    good = checker.run()
    describe(checker)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
