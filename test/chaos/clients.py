"""Clients: processes that produce and consume in many styles, and write down all they do.

A client may be killed, stopped or cut off at any moment. So each call is written down before it is made,
and once more when it returns, by single writes to a file of the client's own.
"""
import hashlib
import json
import os
import random
import select
import signal
import time

from psycopg import pq

from scenario import QUEUES
from server import Failed, Lost

LOAD, DRAIN, STOP = "load", "drain", "stop"
now = time.monotonic
wall_to_monotonic = time.monotonic() - time.time()

# What fails in a callback of commit or abort would be a PANIC; there a session can only be killed.
CALLBACKS = ("commit: before effects", "commit: after effects", "abort: before effects", "abort: after effects")
# Where a session of the testing build can be made to fail, by what it is about to do.
PRODUCER_POINTS = ("enqueue: after reserve", "enqueue: after insert", "enqueue many: after reserve",
                   *CALLBACKS)
CONSUMER_POINTS = ("dead letter: after reserve", "dead letter: after insert",
                   "claim: after flip", "claim: after fetch", "claim: after hold", "ack: after ask",
                   "ack: after insert", "fail: after ask", "fail: after insert", "pre-commit: before pin",
                   "pre-commit: after pin", "turns: after begin", "turns: before look", "turns: after look", *CALLBACKS)
JANITOR_POINTS = ("expire: after begin", "expire: after insert", "due: after watermark", "due: before promote",
                  "journal: after mark", "journal: after insert", "room: after ceiling", "room: after segment",
                  "segments: after seal", "segments: before drop", "segments: after drop", "seize: after seize",
                  "audit: after seize", "cancel: after ask", "cancel: after insert", "redrive: after reopen",
                  "redrive: after seize", "redrive: after insert", "commit: before effects", "commit: after effects")


def payload(key, size):
    """The text of a jsonb, as PostgreSQL prints it."""
    filler = "".join(hashlib.md5(f"{key}/{i}".encode()).hexdigest() for i in range(size // 32 + (size > 0)))
    return f'{{"k": "{key}", "x": "{filler[:size]}"}}'


def checksum(stored):
    return hashlib.md5(stored.encode()).hexdigest()[:8]


class Client:
    def __init__(self, name, seed, server, folder, orders, reports):
        self.name, self.server, self.orders, self.reports = name, server, orders, reports
        self.rng = random.Random(f"{seed}/{name}")
        self.file = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.n = self.tx = self.session = self.sessions = 0
        self.connection = None
        self.phase = LOAD
        self.fault = None
        self.lingers = 0  # how likely it is to be idle before its next COMMIT

    # ---- what is written down

    def note(self, **fields):
        os.write(self.file, json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def call(self, op, sql, parse=None, connection=None, session=None, **fields):
        connection = connection or self.connection
        self.n += 1
        number = self.n
        self.note(n=number, op=op, session=session or self.session, t_invoke=now(), **fields)
        try:
            rows = connection.query(sql)
        except Failed as error:
            self.note(n=number, t_return=now(), outcome="fail", sqlstate=error.sqlstate)
            raise
        except Lost:
            self.note(n=number, t_return=now(), outcome="unknown", lost=True)
            raise
        t_return = now()
        result = parse(rows) if parse else {}
        self.note(n=number, t_return=t_return, outcome="ok", **result)
        return result

    def vanish(self, op, sql, **fields):
        """The same, but nobody is there any more to hear the answer."""
        self.n += 1
        self.note(n=self.n, op=op, session=self.session, t_invoke=now(), reset=True, **fields)
        try:
            self.connection.send_and_vanish(sql)
        finally:
            self.note(n=self.n, t_return=now(), outcome="unknown", lost=True)
        raise Lost("by own doing")

    # ---- transactions

    def new_tx(self):
        self.tx += 1
        return self.tx

    def begin(self, isolation="read committed", sync=True, settings="", **where):
        tx = self.new_tx()
        commit = "" if sync else "SET LOCAL synchronous_commit = off;"
        self.call("begin", f"BEGIN ISOLATION LEVEL {isolation}; {commit}{settings}"
                  f"INSERT INTO chaos.mark VALUES ('{self.name}', {tx})", tx=tx, mark=True, sync=sync, **where)
        return tx

    def commit(self, tx, **where):
        if self.rng.random() < 0.01 and self.phase == LOAD and not where:
            self.vanish("commit", "COMMIT", tx=tx)
        connection = where.get("connection", self.connection)

        def require_commit(_):
            if connection.tag != "COMMIT":
                raise AssertionError(f"COMMIT answered {connection.tag}")
            return {}
        self.call("commit", "COMMIT", require_commit, tx=tx, **where)

    def rollback(self, tx, **where):
        self.call("rollback", "ROLLBACK", tx=tx, **where)

    def auto(self):
        return {"tx": self.new_tx(), "auto": True}

    def linger(self, chance=0.05, longest=0.15):
        """Idle in transaction: where sessions like to be killed."""
        chance, self.lingers = max(chance, self.lingers), 0
        if self.phase == LOAD and self.rng.random() < chance:
            time.sleep(self.rng.uniform(0.01, longest))

    def impatience(self):
        """Settings that may end the transaction at a moment of the server's choice."""
        self.lingers = 0
        if self.phase != LOAD or self.server.synchronous or self.rng.random() > 0.16:
            return ""  # who no longer waits for the standby commits without it
        what, span = self.rng.choices((("statement", "1ms"), ("statement", "2ms"), ("lock", "1ms"),
                                       ("idle_in_transaction_session", "5ms")), (6, 2, 1, 2))[0]
        self.lingers = 0.5 * (span == "5ms")
        return f"SET LOCAL {what}_timeout = '{span}';"

    # ---- life

    def live(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while self.phase != STOP:
            try:
                self.connect()
                while self.phase != STOP and self.connection is not None:
                    self.obey()
                    if self.phase != STOP and self.connection is not None:
                        self.attempt()
            except Lost:
                self.disconnect()
                self.obey()
                time.sleep(0.03)
        self.disconnect()

    def attempt(self):
        if self.fault:
            self.attempt_with_fault()
            return
        try:
            self.turn()
        except Failed:
            pass
        self.leave_transaction()

    def attempt_with_fault(self):
        """Until the fault is met, or for some turns; the session ends in any case."""
        fault, self.fault = self.fault, None
        end, deadline = "done", now() + 1
        try:
            self.prepare(fault)
            self.connection.query(f"SET onceq.fault = '{fault}'")
            while end == "done" and now() < deadline and self.connection is not None:
                try:
                    self.turn(fault)
                except Failed as error:
                    if "fault at" in str(error) or "out of memory at" in str(error):
                        end = "failed"
                self.leave_transaction()
        except Lost:
            end = "lost"
            raise
        finally:
            self.disconnect()
            os.write(self.reports, f"{self.name} {end}\n".encode())

    def prepare(self, fault):
        """Before it is armed."""

    def leave_transaction(self):
        while self.connection is not None and self.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            try:
                self.rollback(self.tx)
            except Failed:  # cancelled before it had begun
                pass

    def connect(self):
        self.connection, self.session = self.new_session()

    def new_session(self):
        connection = self.server.connect(user="chaos", application=self.name)
        self.sessions += 1
        self.note(n=self.next_n(), op="connect", session=self.sessions, t_invoke=now(), t_return=now(),
                  outcome="ok", pid=connection.pid)
        return connection, self.sessions

    def another_session(self):
        """For the calls that are to be made by it."""
        return dict(zip(("connection", "session"), self.new_session()))

    def next_n(self):
        self.n += 1
        return self.n

    def disconnect(self):
        if self.connection is not None:
            self.note(n=self.next_n(), op="disconnect", session=self.session, t_invoke=now(), outcome="ok")
            self.connection.close()
            self.connection = None

    def obey(self):
        while self.orders in select.select([self.orders], [], [], 0)[0]:
            for order in os.read(self.orders, 4096).decode().split("\n"):
                if order in (LOAD, DRAIN, STOP):
                    self.phase = order
                elif order == "leave":
                    self.disconnect()
                elif order.startswith("fault "):
                    self.fault = order.removeprefix("fault ")

    def pick_queue(self, share):
        names = list(QUEUES)
        return QUEUES[self.rng.choices(names, [share(QUEUES[name]) for name in names])[0]]

    # ---- statements that enqueue

    def options(self, queue):
        sql, fields = "", {}
        if queue.delay and self.rng.random() < 0.7:
            fields["delay"] = round(self.rng.uniform(0.05, queue.delay), 3)
            sql += f", delay => '{fields['delay']} s'"
        if self.rng.random() < 0.3:
            fields["priority"] = self.rng.randrange(10)
            sql += f", priority => {fields['priority']}"
        return sql, fields

    def unique(self, name):
        fields = {"unique": name, "mode": self.rng.choice(("skip", "skip", "replace", "debounce"))}
        sql = f", unique_key => '{name}', unique_mode => '{fields['mode']}'"
        if self.rng.random() < 0.15:
            fields["unique_for"] = round(self.rng.uniform(0.1, 1), 3)
            sql += f", unique_for => '{fields['unique_for']} s'"
        if fields["mode"] != "replace" and self.rng.random() < 0.4:  # else it is due when the other was
            fields["delay"] = round(self.rng.uniform(0.05, 0.5), 3)
            sql += f", delay => '{fields['delay']} s'"
        return sql, fields

    def enqueue(self, queue, tx, unique=None):
        key = f"{self.name}-{self.n + 1}"
        sql, fields = self.options(queue)
        if queue.unique and (unique or self.rng.random() < 0.9):
            unique = unique or f"u{self.rng.randrange(queue.unique)}"
            key += f"@{unique}"
            sql, fields = self.unique(unique)
        stored = payload(key, self.rng.randint(*queue.size))
        if queue.keys and self.rng.random() < 0.8:
            fields["ordering"] = f"key {self.rng.randrange(queue.keys)}"
            sql += f", ordering_key => '{fields['ordering']}'"
        if self.rng.random() < 0.1 and queue.retained:
            fields["max_attempts"] = self.rng.randrange(2, 5)
            sql += f", max_attempts => {fields['max_attempts']}"
        self.call("enqueue", f"SELECT onceq.enqueue('{queue.name}', '{stored}'{sql})",
                  lambda rows: {"ids": [int(rows[0][0])] if rows[0][0] else []}, tx=tx, queue=queue.name,
                  jobs=[[key, checksum(stored)]], **fields)

    def payloads(self, queue, count=None):
        count = count or self.rng.randint(1, self.rng.choice((5, queue.batch)))
        keys = [f"{self.name}-{self.n + 1}-{i}" for i in range(count)]
        return keys, [payload(key, self.rng.randint(*queue.size)) for key in keys]

    def enqueue_many(self, queue, tx, count=None):
        keys, stored = self.payloads(queue, count)
        sql, fields = self.options(queue)
        self.call("enqueue", f"SELECT {self.ids_of_many(queue, stored, sql)}", self.ids_of, tx=tx,
                  queue=queue.name, jobs=[[key, checksum(one)] for key, one in zip(keys, stored)], **fields)

    def enqueue_in_one_statement(self, queue):
        """A transaction of its own: its mark is written by the same statement."""
        keys, stored = self.payloads(queue)
        sql, fields = self.options(queue)
        where = self.auto()
        statement = (f"WITH mark AS (INSERT INTO chaos.mark VALUES ('{self.name}', {where['tx']}))"
                     f" SELECT {self.ids_of_many(queue, stored, sql)}")
        jobs = [[key, checksum(one)] for key, one in zip(keys, stored)]
        call = self.vanish if self.rng.random() < 0.02 else self.call
        more = {"parse": self.ids_of} if call == self.call else {}
        call("enqueue", statement, mark=True, queue=queue.name, jobs=jobs, **more, **where, **fields)

    @staticmethod
    def ids_of_many(queue, stored, options):
        array = ", ".join(f"'{one}'" for one in stored)
        return (f"string_agg(id::text, ' ' ORDER BY place) FROM onceq.enqueue_many('{queue.name}',"
                f" ARRAY[{array}]::jsonb[]{options}) WITH ORDINALITY AS given (id, place)")

    # ---- statements about jobs in any hands

    def cancel(self, queue, number, tx, **where):
        self.call("cancel", f"SELECT onceq.cancel('{queue}', {number})", lambda rows: {"count": int(rows[0][0] == "t")},
                  tx=tx, queue=queue, ids=[number], **where)

    def redrive(self, queue, number, tx):
        self.call("redrive", f"SELECT onceq.redrive('{queue}', {number})", lambda rows: {"count": int(rows[0][0])},
                  tx=tx, queue=queue, ids=[number])

    def order_some(self, _=None):
        dead = self.rng.random() < 0.6
        found = [queue.name for queue in QUEUES.values() if queue.retained and (queue.mortal or not dead)]
        self.order(self.rng.choice(found), "dead" if dead else self.rng.choice(("ready", "running", "scheduled")))

    def order(self, queue, state):
        """Cancels, or redrives, some of the jobs in that state."""
        found = self.call("look", f"SELECT id FROM onceq.jobs('{queue}', '{state}', count => 5)",
                          lambda rows: {"ids": [int(number) for (number,) in rows]}, queue=queue, **self.auto())["ids"]
        if not found:
            return
        tx = self.begin(settings=self.impatience())
        for number in self.rng.sample(found, min(len(found), self.rng.choice((1, 2, 5)))):
            (self.redrive if state == "dead" and self.rng.random() < 0.7 else self.cancel)(queue, number, tx)
        self.linger()
        (self.rollback if self.phase == LOAD and self.rng.random() < 0.15 else self.commit)(tx)

    @staticmethod
    def ids_of(rows):
        return {"ids": [int(number) for number in rows[0][0].split()]}


class Producer(Client):
    points = PRODUCER_POINTS

    def turn(self, fault=None):
        if self.phase != LOAD:
            time.sleep(0.05)
            return
        queue = self.pick_queue(lambda queue: queue.produce)
        style = self.rng.choices(("many", "single", "statement", "savepoint", "exception", "bulk"), (8, 8, 8, 6, 2, 1))[0]
        if (queue.keys or queue.unique) and self.rng.random() < 0.7:
            style = self.rng.choice(("single", "savepoint"))  # many at once have no keys
        if fault and "enqueue" in fault:
            style = "many" if "many" in fault else "single"
        if style == "statement":
            self.enqueue_in_one_statement(queue)
        else:
            tx = self.begin(sync=self.rng.random() < 0.8, settings=self.impatience())
            getattr(self, style)(queue, tx)
            self.linger()
            (self.rollback if self.rng.random() < 0.12 else self.commit)(tx)
        time.sleep(self.rng.uniform(0.01, 0.06))

    # ---- styles

    def many(self, queue, tx):
        for _ in range(self.rng.choice((1, 1, 2))):
            self.enqueue_many(queue, tx)

    def bulk(self, queue, tx):
        """As many as a claim or two can take, and more than a page of the board has."""
        if queue.batch < 300:
            self.many(queue, tx)
        else:
            self.enqueue_many(queue, tx, self.rng.randint(1000, 4000))

    def single(self, queue, tx):
        for _ in range(self.rng.randrange(1, 3 if queue.unique else 6)):  # those with unique keys may deadlock
            self.enqueue(queue, tx)

    def savepoint(self, queue, tx):
        """Kept, undone, kept; sometimes two deep."""
        self.enqueue(queue, tx)
        since = self.n + 1
        self.call("savepoint", "SAVEPOINT one", tx=tx)
        self.enqueue_many(queue, tx)
        if self.rng.random() < 0.5:
            self.call("savepoint", "SAVEPOINT two", tx=tx)
            self.enqueue(queue, tx)
            if self.rng.random() < 0.5:
                self.call("release savepoint", "RELEASE SAVEPOINT two", tx=tx)
        self.call("undo", "ROLLBACK TO SAVEPOINT one", tx=tx, since=since)
        (self.enqueue if self.rng.random() < 0.5 else self.enqueue_many)(queue, tx)

    def exception(self, queue, tx):
        """What a PL/pgSQL block enqueued before its exception must never be seen."""
        self.call("block", f"""DO $$ BEGIN
            PERFORM onceq.enqueue('{queue.name}', '{{"k": "{self.name}-undone"}}');
            RAISE 'undo';
            EXCEPTION WHEN raise_exception THEN NULL; END $$""", tx=tx)
        self.enqueue(queue, tx)
