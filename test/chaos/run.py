#!/usr/bin/python3
"""The history run: clients that produce and consume, a nemesis that kills, and a judge who sees all of it.

    run.py --bin FOLDER --conf FILE --folder FOLDER [--seed N] [--seeds N] [--long] …

Servers are started below --folder, from the programs in --bin with the settings in --conf, as
scripts/server.sh stages them; not as root. Each seed is a run of its own. Prints TAP: one test for each
rule and seed; a history that breaks a rule is kept in FOLDER/seed-N. README.md tells more.
"""
import argparse
import collections
import ctypes
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import checker
import plan
import tally
from clients import DRAIN, LOAD, STOP, Producer, now, wall_to_monotonic
from consumers import Consumer, Janitor
from history import History
from letters import FAILED
from nemesis import Nemesis
from scenario import COMMON, KEY, KINDS, QUEUES, SMALL_DISKS, set_up
from server import Server
from standby import Pair

CLASSES = {"p": Producer, "c": Consumer, "j": Janitor}
PR_SET_PDEATHSIG = 1
STANDBYS = "synchronous", "asynchronous"


class Process:
    """A client's process. Killed, it leaves its file; another of the next name takes its place."""

    def __init__(self, herd, kind, name):
        self.kind, self.name = kind, name
        self.report = None  # of the last fault it was ordered: done, lost
        self.expected_to_die = self.frozen = False
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            herd.live_as_child(kind, name, reader)
        os.close(reader)
        self.order(herd.phase)

    def order(self, order):
        self.report = None
        try:
            os.write(self.writer, f"{order}\n".encode())
        except BrokenPipeError:  # it has died, and another will take its place
            self.report = "lost"

    def signal(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.expected_to_die = True
        self.signal(signal.SIGKILL)

    def freeze(self):
        self.frozen = True
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.frozen = False
        self.signal(signal.SIGCONT)


class Herd:
    def __init__(self, seed, server, folder, amounts):
        self.seed, self.server, self.folder = seed, server, folder
        self.phase = LOAD
        self.problems = []
        self.reader, self.reports = os.pipe()
        os.set_blocking(self.reader, False)
        self.born = collections.Counter()
        self.processes = {}
        for kind, amount in amounts.items():
            for number in range(1, amount + 1):
                self.spawn(kind, number)

    def spawn(self, kind, number):
        self.born[kind, number] += 1
        name = f"{kind}{number}_{self.born[kind, number]}"
        self.processes[kind, number] = Process(self, kind, name)

    def live_as_child(self, kind, name, orders):
        status = 1
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            CLASSES[kind](name, self.seed, self.server, self.folder, orders, self.reports).live()
            status = 0
        except BaseException:
            (self.folder / f"{name}.error").write_text(traceback.format_exc())
        os._exit(status)

    def tend(self):
        """Hears what clients report, and replaces those that died."""
        try:
            lines = os.read(self.reader, 65536).decode().splitlines()
        except BlockingIOError:
            lines = []
        for line in lines:
            name, report = line.split()
            for process in self.processes.values():
                if process.name == name:
                    process.report = report
        for (kind, number), process in list(self.processes.items()):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid == 0:
                continue
            os.close(process.writer)
            process.report = "lost"
            del self.processes[kind, number]
            if status != 0 and not process.expected_to_die:
                file = self.folder / f"{process.name}.error"
                self.problems.append(f"client {process.name} died: {file.read_text() if file.exists() else status}")
            if self.phase != STOP:
                self.spawn(kind, number)

    def pick(self, rng, kinds):
        found = [process for process in self.processes.values() if process.kind in kinds and not process.frozen]
        return rng.choice(found)

    def order_all(self, order):
        if order in (LOAD, DRAIN, STOP):
            self.phase = order
        for process in self.processes.values():
            process.thaw()
            process.order(order)

    def end(self, patience=120):
        self.order_all(STOP)
        deadline = now() + patience
        while self.processes and now() < deadline:
            self.tend()
            time.sleep(0.01)
        if self.processes:
            self.problems.append(f"clients do not end: {[process.name for process in self.processes.values()]}")
            self.kill_all()

    def kill_all(self):
        self.phase = STOP
        for process in self.processes.values():
            process.thaw()
            process.kill()
        while self.processes:
            self.tend()
            time.sleep(0.01)


# ---- the end of a run

def live_jobs(connection):
    return {row[0]: sum(map(int, row[1:])) for row in
            connection.query("SELECT queue, ready, scheduled, running, blocked FROM onceq.queue_stats")}


def drain(nemesis, herd, patience):
    """Until nothing is left, twice. Returns what is left."""
    herd.order_all(DRAIN)
    deadline, empty = now() + patience, 0
    while empty < 2 and now() < deadline:
        nemesis.rest(0.15)
        nemesis.query("SELECT onceq.resume_queue('purged')")
        left = {queue: count for queue, count in live_jobs(nemesis.admin()).items() if count}
        empty = 0 if left else empty + 1
    return left


def poll(look, patience):
    """What look finds when it finds nothing, or at the end."""
    deadline = now() + patience
    while found := look():
        if now() > deadline:
            break
        time.sleep(0.05)
    return found


def read_jobs(connection, queue):
    found, last = [], 0
    while True:
        rows = connection.query(f"SELECT id, {KEY}, state, attempt, substring(error FROM '^replaced by job (.*)')"
                                f" FROM onceq.jobs('{queue}', after_id => {last}, count => 10000)")
        if not rows:
            return found
        found += [[int(number), key, state, int(attempt), *([int(successor)] if successor else [])]
                  for number, key, state, attempt, successor in rows]
        last = found[-1][0]


OUTCOMES = {"a": "acked", "f": "failed", "d": "dead", "c": "cancelled", "r": "redriven"}


def read_outcomes(connection, queue):
    number = connection.value(f"SELECT id FROM onceq.queue WHERE name = '{queue}'")
    found = []
    for (segment,) in connection.query(f"SELECT number FROM onceq.segment WHERE queue_id = {number}"):
        table = connection.query("SELECT c.relname FROM pg_class c WHERE relnamespace = 'onceq_data'::regnamespace"
                                 f" AND relname ~ '^o{number}_0*{segment}$'")[0][0]
        found += [[queue, int(first), int(last), OUTCOMES[outcome], int(attempt)] for first, last, outcome, attempt
                  in connection.query(f"SELECT first_id, last_id, outcome, attempt FROM onceq_data.{table}")]
    return found


STRAY_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'onceq_data'::regnamespace AND relkind = 'r'
AND NOT EXISTS (SELECT FROM onceq.segment WHERE relname ~ ('^[jor]' || queue_id || '_0*' || number || '$'))
AND NOT EXISTS (SELECT FROM onceq.consumer WHERE relname = 'c' || id)
AND NOT EXISTS (SELECT FROM onceq.queue WHERE relname = 'q' || id OR relname ~ ('^[jor]' || id || '_stay$'))"""
LEFT_LOCKS = """
SELECT l.locktype, l.mode, a.application_name, a.state FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE a.usename = 'chaos' OR l.locktype IN ('relation', 'advisory') AND l.granted AND l.mode ~ 'Exclusive'
AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()"""


def read_final(connection):
    def rows(sql):
        return connection.query(sql)
    retained = [queue.name for queue in QUEUES.values() if queue.retained]
    return {
        "queues": {queue.name: queue.describe() for queue in QUEUES.values()},
        "jobs": {queue.name: read_jobs(connection, queue.name) if queue.retained else []
                 for queue in QUEUES.values()},
        "effects": [[queue, int(job), int(token), client, int(tx)] for queue, job, token, client, tx
                    in rows("SELECT queue, job, token, client, tx FROM chaos.effect")],
        "marks": [[client, int(tx)] for client, tx in rows("SELECT client, tx FROM chaos.mark")],
        "processed": [[consumer, event, client, int(tx)] for consumer, event, client, tx
                      in rows("SELECT consumer, event, client, tx FROM chaos.processed")],
        "ledger": rows("SELECT consumer, event_id FROM onceq.processed_events"),
        "outcomes": [row for queue in retained for row in read_outcomes(connection, queue)],
        "stats": [dict(zip(("queue", "ready", "scheduled", "running"), (queue, *map(int, counts)))) for queue, *counts
                  in rows("SELECT queue, ready, scheduled, running FROM onceq.queue_stats")],
        "audit": [[queue, *row] for queue in QUEUES for row in rows(f"SELECT * FROM onceq.audit('{queue}')")],
        "leases": poll(lambda: rows("SELECT queue, worker, state, jobs FROM onceq.leases"), 60),
        "journal": poll(lambda: rows("SELECT queue_id, token, first_id, last_id FROM onceq.lease_journal"), 60),
        "tables": rows(STRAY_TABLES),
        "locks": poll(lambda: rows(LEFT_LOCKS), 60),
    }


# ---- one run

class Run:
    def __init__(self, arguments, seed):
        self.arguments, self.seed = arguments, seed
        self.folder = arguments.folder / f"seed-{seed}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.history = self.folder / "history"
        self.history.mkdir(parents=True)
        self.kind = arguments.kind or list(KINDS)[seed % len(KINDS)]
        where = arguments.bin, arguments.conf, self.folder / "server", arguments.port
        self.standby = STANDBYS[seed % 2] if arguments.standby == "by-turns" else arguments.standby
        self.server = Pair(*where, self.standby == "synchronous") if self.standby else Server(*where)
        self.herd = self.nemesis = None
        self.amounts = {} if arguments.calm_only else plan.amounts(seed, self.standby, arguments.long)
        self.wants_disks = any(self.amounts.get(kind) for kind in plan.NEED_DISKS)
        self.disks = arguments.disks if self.wants_disks else None

    def go(self):
        settings = {**COMMON, **KINDS[self.kind]}
        if self.disks:
            self.server.create({**settings, **SMALL_DISKS}, self.arguments.folder / "template", self.disks)
        else:
            self.server.create(settings, self.arguments.folder / "template")
        self.server.start()
        try:
            if self.disks:
                self.server.use_disks()
            connection = self.server.connect_when_up()
            set_up(connection)
            connection.close()
            self.server.stop("fast")
            self.server.start()
            if self.standby:
                self.server.start_standby()
            self.load()
            final = self.judge_rebuilt()
            self.server.stop("fast")
            final["log"] = [line for line in self.server.log_lines(wall_to_monotonic)
                            if checker.STRANGE.search(line[1]) or FAILED.search(line[1])]
            (self.history / "final.json").write_text(json.dumps(final))
        finally:
            if self.herd is not None:
                self.herd.kill_all()
            self.server.stop("immediate")

    def load(self):
        self.herd = Herd(self.seed, self.server, self.history, {"p": 3, "c": 6, "j": 1})
        self.nemesis = Nemesis(self.seed, self.server, self.herd, self.history)
        storms = plan.make_plan(random.Random(f"{self.seed}/plan"), self.amounts)
        begin = now()
        self.nemesis.follow(storms, self.arguments.seconds, self.arguments.calm)
        middle = now()
        left = drain(self.nemesis, self.herd, self.arguments.drain)
        print(f"# {middle - begin:.0f} s of faults, drained in {now() - middle:.0f} s")
        if left:
            print(f"# seed {self.seed}: not drained: {left}")
        self.herd.end()

    def judge_rebuilt(self):
        """The final state, read from boards that were built anew from the tables."""
        begin = now()
        before = live_jobs(self.nemesis.admin())
        self.nemesis.leave()
        self.server.stop("immediate")
        self.server.start()  # of two, the primary
        connection = self.server.connect_when_up()
        self.nemesis.note("last restart", begin, t_return=now(), stops="crash")
        connection.query("SET statement_timeout = 0")  # after a long run there is much to read
        final = read_final(connection)
        after = live_jobs(connection)
        connection.close()
        if before != after:
            self.herd.problems.append(f"live jobs before and after the last restart: {before}, {after}")
        return final

    def report(self, first):
        history = History.load(self.history)
        judge = checker.Checker(history, self.arguments.patience)
        judge.run()
        where = f"{self.kind}, {self.standby} standby" if self.standby else self.kind
        prefix = f"seed {self.seed} ({where}): "
        checker.describe(judge, prefix, first)
        problems = self.herd.problems
        print(f"{'not ' * bool(problems)}ok {first + len(checker.RULES)} - {prefix}the run itself went well")
        print(*(f"#   {line}" for problem in problems[:3] for line in problem.splitlines()), sep="\n")
        faults = tally.tally(history, self.server.logs(), self.history.glob("*.jsonl"))
        if self.wants_disks:
            where = "" if self.disks else " # SKIP there are no small disks: it takes root to mount them"
            print(f"ok {first + len(checker.RULES) + 1} - {prefix}disks ran full{where}")
        print("# covered:", tally.describe(faults))
        if not self.arguments.keep:
            for number, log in enumerate(self.server.logs(), 1):
                shutil.move(log, self.history / f"server-{number}.log")
            shutil.rmtree(self.server.folder)
        if judge.broken or problems:
            print(f"# kept: {self.folder}")
        elif not self.arguments.keep:
            shutil.rmtree(self.folder)
        sys.stdout.flush()
        return judge, faults, len(judge.broken) + bool(problems)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=Path, help="folder of the server's programs")
    parser.add_argument("--conf", required=True, type=Path, help="settings that make it find a testing build of onceq")
    parser.add_argument("--folder", required=True, type=Path, help="where servers and histories are put")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--seeds", type=int, default=1, help="number of runs")
    parser.add_argument("--seconds", type=float, default=25, help="of faults in each run, at least")
    parser.add_argument("--calm", type=float, default=6, help="seconds without faults after that")
    parser.add_argument("--drain", type=float, default=180, help="seconds until all must be drained after that")
    parser.add_argument("--kind", choices=KINDS, help="settings of the server; else they change from seed to seed")
    parser.add_argument("--standby", choices=(*STANDBYS, "by-turns"), help="fail over to it")
    parser.add_argument("--patience", type=float, default=2, help="seconds that a ready job may wait (R8)")
    parser.add_argument("--long", action="store_true", help=f"{plan.LONG} times the faults; give it more --seconds")
    parser.add_argument("--calm-only", action="store_true", help="no faults at all")
    parser.add_argument("--disks", type=Path, help="folder of two small file systems, wal and data, that may run full")
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--keep", action="store_true", help="keep histories and servers of good runs, too")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    jobs, faults, duplicates, broken, tests = 0, collections.Counter(), collections.Counter(), 0, 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        run = Run(arguments, seed)
        run.go()
        judge, seen, failed = run.report(tests + 1)
        tests += len(checker.RULES) + 1 + run.wants_disks
        jobs += judge.exercised["jobs"]
        faults += seen
        duplicates += judge.duplicates
        broken += failed
    print(f"1..{tests}")
    print(f"# {jobs} jobs with checked fate in {arguments.seeds} runs; {broken} rules broken")
    print("# covered:", tally.describe(faults))
    print("# repeated deliveries:", ", ".join(f"{count} {kind}" for kind, count in duplicates.most_common()))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
