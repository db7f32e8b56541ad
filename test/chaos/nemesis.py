"""The nemesis: injects faults one after the other, by a plan (plan.py), and writes them down.

A fault's window begins before it is injected and ends when the server, or the client, is well again.
"""
import heapq
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from clients import CONSUMER_POINTS, JANITOR_POINTS, PRODUCER_POINTS, now
from plan import IN_CHORES
from server import Failed, Lost
from upheavals import Upheavals

CRASH_PATIENCE = 120  # s until a killed server process has brought the server down and up again
SHORTEST_GAP = 0.1   # s between two faults, on average


class Nemesis(Upheavals):
    """herd: the clients, by run.py."""

    def __init__(self, seed, server, herd, folder):
        self.rng = random.Random(f"{seed}/nemesis")
        self.server, self.herd = server, herd
        self.file = open(folder / "nemesis.jsonl", "a", encoding="utf-8", buffering=1)
        self.later = []  # (time, number, what to do)
        self.sequence = 0
        self.connection = None
        self.clock = 0  # onceq.clock_offset, in s

    # ---- what is written down

    def note(self, kind, begin, **fields):
        self.file.write(json.dumps({"event": kind, "t_invoke": begin, **fields}) + "\n")

    def admin(self):
        if self.connection is None:
            self.connection = self.server.connect_when_up()
        return self.connection

    def query(self, sql):
        """The rows; none if it fails. Again, should the connection be lost."""
        for _ in range(3):
            try:
                return self.admin().query(sql)
            except Failed:
                return []
            except Lost:
                self.leave()
        return []

    def leave(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    # ---- time

    def at(self, delay, action):
        self.sequence += 1
        heapq.heappush(self.later, (now() + delay, self.sequence, action))

    def rest(self, seconds):
        """Does what falls due meanwhile. Being late is a fault, too: then the machine is too slow for R8."""
        end = now() + seconds
        while True:
            begin = now()
            while self.later and self.later[0][0] <= now():
                heapq.heappop(self.later)[2]()
            self.herd.tend()
            self.server.note_progress()
            if now() >= end:
                return
            time.sleep(min(0.05, max(end - now(), 0)))
            if now() - begin > 0.25:
                self.note("slow machine", begin, t_return=now(), calm_after=1)

    def finish_later(self):
        while self.later:
            heapq.heappop(self.later)[2]()

    # ---- the plan

    def follow(self, storms, seconds, calm):
        """The faults, spread over some time if there is some to spare; and then calm, so that R8 can be judged."""
        left, end = sum(map(len, storms)), now() + seconds
        for storm in storms:
            for kind, fault in storm:
                getattr(self, kind)(*fault)
                self.rest(self.rng.uniform(0, 2 * max((end - now()) / left, SHORTEST_GAP)))
                left -= 1
            self.finish_later()
        self.rest(max(calm, end - now()))

    # ---- crashes

    def crash(self, kind, kill, pid=None):
        """kill ends one process; the postmaster then ends all others, and starts anew."""
        begin, offset = now(), self.server.log_size()
        self.leave()
        try:
            kill()
        except ProcessLookupError:
            return
        if self.wait_for_crash(offset):
            self.note(kind, begin, t_return=now(), stops="crash", pid=pid, calm_after=2)

    def wait_for_crash(self, offset, patience=CRASH_PATIENCE):
        deadline = now() + patience
        while "all server processes terminated" not in self.server.log_since(offset):
            if now() > deadline:
                return False
            time.sleep(0.01)
            self.herd.tend()
        self.server.connect_when_up().close()
        return True

    def backends(self, which):
        """The pids of clients' sessions: any, or those idle in transaction, or active."""
        condition = "" if which == "any" else f"AND state = '{which}'"
        rows = self.query("SELECT pid FROM pg_stat_activity WHERE usename = 'chaos'"
                          f" AND backend_type = 'client backend' {condition} ORDER BY application_name")
        return [int(pid) for (pid,) in rows]

    def backend(self, which):
        pids = self.backends(which)
        return self.rng.choice(pids) if pids else None

    def helper(self, name):
        rows = self.query(f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{name}'")
        return int(rows[0][0]) if rows else None

    def find(self, look, patience=2.0):
        """What look finds, as soon as there is something; None: nothing came."""
        deadline = now() + patience
        while True:
            found = look()
            if found is not None or now() > deadline:
                return found
            self.rest(0.005)

    def kill_backend(self, which):
        pid = self.find(lambda: self.backend(which)) or self.backend("any")
        if pid:
            self.crash("kill -9 backend", lambda: os.kill(pid, signal.SIGKILL), pid)

    def kill_helper(self, name):
        pid = self.find(lambda: self.helper(name), 5)
        if pid:
            self.crash(f"kill -9 {name.split()[-1]}", lambda: os.kill(pid, signal.SIGKILL), pid)

    def fault_point(self, action, point):
        """A client's session dies, or fails, at a named point of the code."""
        kinds = "".join(kind for kind, points in (
            ("p", PRODUCER_POINTS), ("c", CONSUMER_POINTS), ("j", JANITOR_POINTS)) if point in points)
        begin, offset = now(), self.server.log_size()
        client, worker = self.arm(kinds, f"fault {action} at {point}")
        self.leave()
        deadline = now() + 5
        while client.report is None and now() < deadline and not self.is_killed(offset):
            time.sleep(0.01)
            self.herd.tend()
        self.signal(worker, signal.SIGCONT)
        crashed = False
        if client.report is None and not self.is_killed(offset):  # it hangs, or waits for somebody
            client.kill()
            crashed = self.crashes(offset, 1)
        elif action == "kill" and client.report != "done":
            crashed = self.crashes(offset, 2)
        reached = crashed or f'at "{point}"' in self.server.log_since(offset)
        name = f"{action} at a fault point" if reached else "fault point not reached"
        self.note(name, begin, t_return=now(), point=point, calm_after=2, **({"stops": "crash"} if crashed else {}))

    def arm(self, kinds, order):
        """(a client of these kinds, which has the order; the worker, which is stopped if it would come before the janitor)"""
        worker = self.helper("onceq worker") if kinds == "j" else None
        client = self.herd.pick(self.rng, kinds)
        self.signal(worker, signal.SIGSTOP)
        client.order(order)
        return client, worker

    def stop_at_point(self, point, seconds):
        """A client's session stays there for longer than a short lease, while others go on."""
        begin, stays, reached = now(), [], False
        kind = "c" if point in CONSUMER_POINTS else "j" if point in IN_CHORES else "p"
        client, worker = self.arm(kind, f"fault stop at {point}")
        deadline = begin + (3 if worker else 10)
        while client.report is None or stays or deadline < now() < deadline + 1:
            stays = self.stopped(worker)
            if stays:
                reached = True
                self.signal(worker, signal.SIGCONT)
                self.rest(seconds)
            elif now() > deadline:  # it waits for somebody
                client.kill()
            for pid in stays:
                self.signal(pid, signal.SIGCONT)
            self.rest(0.02)
        self.signal(worker, signal.SIGCONT)
        self.note("stop at a fault point" if reached else "fault point not reached", begin, t_return=now(),
                  point=point, calm_after=1)

    def stopped(self, besides):
        """Asks no session, which might wait for one of them."""
        postmaster = self.server.postmaster()
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii")
        return [pid for pid in map(int, children.split()) if pid != besides and is_stopped(pid)]

    def crashes(self, offset, patience):
        """Until then; or later, if a process was killed by then."""
        return self.wait_for_crash(offset, patience) or self.is_killed(offset) and self.wait_for_crash(offset)

    def is_killed(self, offset):
        return "terminated by signal 9" in self.server.log_since(offset)

    @staticmethod
    def signal(pid, number):
        try:
            if pid is not None:
                os.kill(pid, number)
        except ProcessLookupError:
            pass

    def worker_fault(self, action, point):
        """As fault_point, but in whatever process comes there, the worker above all; for a while."""
        begin, offset = now(), self.server.log_size()
        self.leave()
        self.server.configure(fault=f"{action} at {point}")
        deadline = now() + 1.0
        while now() < deadline and not self.is_killed(offset):
            time.sleep(0.01)
        self.server.configure(fault="")
        crashed = False
        while self.crashes(offset, 0.3 if crashed or action != "kill" else 1.5):  # until all have read that it is over
            crashed, offset_after = True, self.server.log_size()
            if not self.wait_for_crash(offset_after, 0.3):
                break
        reached = crashed or f'at "{point}"' in self.server.log_since(offset)
        name = f"{action} in the worker" if reached else "fault point not reached"
        # A duty that failed for one queue is tried again after 5 s.
        self.note(name, begin, t_return=now(), point=point, calm_after=7 if reached else 1, **({"stops": "crash"} if crashed else {}))

    def kill_postmaster(self):
        begin = now()
        self.leave()
        self.server.kill()
        self.server.start()
        self.server.connect_when_up().close()
        self.note("kill -9 postmaster", begin, t_return=now(), stops="crash", calm_after=2)

    def restart(self, mode):
        begin = now()
        self.leave()
        if mode == "smart":  # waits for all to leave
            self.finish_later()
            self.herd.order_all("leave")
        stopped = self.server.stop(mode, 5 if mode == "smart" else 30)
        if not stopped and not self.server.stop("fast"):
            raise RuntimeError(f"the server does not stop:\n{self.server.tail()}")
        self.server.start()
        self.server.connect_when_up().close()
        self.note(f"{mode} restart", begin, t_return=now(), calm_after=2,
                  stops="crash" if mode == "immediate" else "restart")

    def fail_over(self):
        if self.server.synchronous:  # a crash may have made commits visible that still waited for the standby
            self.server.wait_for_standby()
        begin = now()
        self.leave()
        lossy = {} if self.server.synchronous else {"lossy_since": self.server.safe_until}
        self.server.fail_over()
        self.server.connect_when_up().close()
        self.note("fail over", begin, t_return=now(), stops="crash", calm_after=3, **lossy)
        begin = now()
        self.server.start_standby()
        self.note("new standby", begin, t_return=now(), fault=False)

    # ---- less than a crash

    def terminate(self, which):
        """Half of the sessions at once."""
        begin, pids = now(), self.find(lambda: self.backends(which) or None, 0.5) or []
        pids = self.rng.sample(pids, (len(pids) + 1) // 2)
        done = self.query(f"SELECT pid FROM unnest('{{{','.join(map(str, pids))}}}'::int[]) pid"
                          " WHERE pg_terminate_backend(pid)")
        if done:
            self.note("pg_terminate_backend", begin, t_return=now(), calm_after=0.5, count=len(done))

    def cancel(self, rounds):
        """All statements, again and again. Some are over before they hear of that."""
        begin = now()
        self.query(f"""DO $$ BEGIN
            FOR round IN 1..{rounds} LOOP
                PERFORM pg_stat_clear_snapshot();
                PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'chaos' AND state = 'active';
                PERFORM pg_sleep(0.001);
            END LOOP; END $$""")
        self.note("pg_cancel_backend", begin, t_return=now(), calm_after=0.5)

    def terminate_helper(self, name):
        pid = self.find(lambda: self.helper(name), 5)
        if pid:
            begin = now()
            self.query(f"SELECT pg_terminate_backend({pid})")
            self.note(f"terminate {name.split()[-1]}", begin, t_return=now(), calm_after=2)

    def stop_client(self, seconds):
        """Longer than its lease, mostly."""
        begin, client = now(), self.herd.pick(self.rng, "cp")
        client.freeze()

        def thaw():
            client.thaw()
            self.note("client stopped", begin, t_return=now(), calm_after=1)
        self.at(seconds, thaw)

    def stop_process(self, whose, seconds):
        """It may hold locks: nobody is waited for meanwhile."""
        pid = self.helper("onceq worker") if whose == "worker" else self.backend("active") or self.backend("any")
        if pid is None:
            return
        begin = now()
        self.signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.signal(pid, signal.SIGCONT)
        self.note(f"{whose} stopped", begin, t_return=now(), calm_after=1)

    def kill_client(self):
        begin = now()
        self.herd.pick(self.rng, "cp").kill()
        self.note("client killed", begin, t_return=now(), calm_after=0.5)

    # ---- what administrators do

    def tables(self):
        return [row[0] for row in self.query(
            "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'onceq_data' AND relkind = 'r' AND relname ~ '^[jor]' ORDER BY relname")]

    def administrate(self, what):
        tables = self.tables()
        if not tables:
            return
        table = self.rng.choice(tables)
        sql = {
            "vacuum": f"VACUUM {table}", "vacuum full": f"VACUUM FULL {table}", "analyze": f"ANALYZE {table}",
            "freeze": f"VACUUM (FREEZE) {table}", "reindex": f"REINDEX TABLE {table}",
            "cluster": f"CLUSTER {table} USING {table}_id",
            "lock": f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.2); COMMIT",
            "checkpoint": "CHECKPOINT",
        }[what]
        begin = now()
        self.query("SET lock_timeout = '300ms'")
        self.query(sql)
        self.query("ROLLBACK")
        self.note(what, begin, t_return=now(), calm_after=0.5)

    def dump(self):
        begin = now()
        process = subprocess.Popen([self.server.bin / "pg_dump", *self.server.address, "-f", os.devnull, "postgres"],
                                   stderr=subprocess.DEVNULL)
        self.at(1.5, lambda: (process.kill(), process.wait(), self.note("dump", begin, t_return=now())))

    def old_snapshot(self, seconds):
        begin = now()
        connection = self.server.connect_when_up()
        try:
            connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM chaos.mark")
        except Lost:
            pass
        self.at(seconds, lambda: (connection.close(), self.note("old snapshot", begin, t_return=now(), fault=False)))


def is_stopped(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(") ")[2].startswith("T")
    except OSError:
        return False
