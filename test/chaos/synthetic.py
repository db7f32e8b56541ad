"""Good histories, made up: a perfect queue in virtual time, with clients that crash and a server that is killed.

make_history(seed) gives (records, events, final) as a run of run.py would leave them, but within
milliseconds and without a server. checker_test.py makes bad ones of them.
"""
import heapq
import random
from dataclasses import dataclass, field
from itertools import islice

from history import TERMINAL

LOAD = 3.0    # virtual seconds with producers and faults
QUEUES = {
    "plain": {"retained": True, "max_attempts": 6, "lease": 1.0, "backoff": 0.05},
    "few": {"retained": True, "max_attempts": 2, "lease": 0.3, "backoff": 0.1},
    "keyed": {"retained": True, "max_attempts": 1000, "lease": 0.5, "backoff": 0.0},
    "gone": {"retained": False, "max_attempts": 1000, "lease": 0.5, "backoff": 0.0},
}


class Refused(Exception):
    """The statement fails."""


class Lost(Exception):
    """The connection, and with it the session."""


@dataclass(eq=False)
class Row:
    queue: str
    id: int
    key: str
    hash: str
    due: float
    limit: int
    ordering: str | None
    state: str = "ready"
    failed: int = 0
    attempt: int = 0
    token: int | None = None
    delivered: bool = False


@dataclass(eq=False)
class HeldLease:
    rows: list
    deadline: float
    span: float
    session: object
    bound: bool  # to its session
    journalled: bool


@dataclass(eq=False)
class OpenTransaction:
    name: tuple
    sync: bool
    actions: list = field(default_factory=list)  # (n, kind, …)


@dataclass(eq=False)
class Session:
    alive: bool = True
    transaction: OpenTransaction | None = None


class Server:
    def __init__(self, rng):
        self.rng = rng
        self.now = 0.0
        self.up = True
        self.rows = []
        self.unfinished = {queue: [] for queue in QUEUES}  # a superset
        self.next_id = dict.fromkeys(QUEUES, 1)
        self.next_token = 1000
        self.leases = {}
        self.sessions = []
        self.marks, self.effects, self.outcomes = [], [], []
        self.recent = []  # asynchronous commits that a crash may take away

    def connect(self):
        if not self.up:
            raise Lost
        self.sessions.append(Session())
        return self.sessions[-1]

    # ---- jobs

    def tick(self):
        for token, lease in list(self.leases.items()):
            if lease.deadline <= self.now:
                self.lose(token)

    def lose(self, token):
        for row in self.leases.pop(token).rows:
            self.fail(row)

    def fail(self, row):
        row.failed += 1
        row.attempt = row.failed
        dead = row.failed >= row.limit
        row.state, row.token = "dead" if dead else "ready", None
        row.due = self.now + QUEUES[row.queue]["backoff"]
        self.outcomes.append([row.queue, row.id, row.id, "dead" if dead else "failed", row.failed])

    def leave(self, token, row):
        lease = self.leases[token]
        lease.rows.remove(row)
        if not lease.rows:
            del self.leases[token]

    def blocked(self, row):
        return row.ordering is not None and any(
            other.ordering == row.ordering and other.id < row.id
            and other.state in ("ready", "leased", "reserved") for other in self.unfinished[row.queue])

    def held(self, session, token, ids):
        lease = self.leases.get(token)
        rows = [row for row in lease.rows if row.id in ids] if lease else []
        asked = [row for action in (session.transaction.actions if session.transaction else [])
                 if action[1] in ("ack", "nack", "reject") and action[2] == token for row in action[3]]
        if len(rows) < len(ids) or any(row in asked for row in rows):
            raise Refused("OQ001")
        return rows

    # ---- statements

    def enqueue(self, session, n, queue, jobs, delay, limit, ordering):
        rows = []
        for key, checksum in jobs:
            rows.append(Row(queue, self.next_id[queue], key, checksum, self.now + delay,
                            limit or QUEUES[queue]["max_attempts"], ordering, "reserved"))
            self.next_id[queue] += 1
        self.rows += rows
        self.unfinished[queue] += rows
        session.transaction.actions.append((n, "enqueue", rows))
        return {"ids": [row.id for row in rows]}

    def claim(self, session, n, queue, count, span, bound):
        self.tick()
        if queue == "keyed":
            count = 1
        self.unfinished[queue] = [row for row in self.unfinished[queue] if row.state not in TERMINAL]
        ready = (row for row in self.unfinished[queue]
                 if row.state == "ready" and row.due <= self.now and not self.blocked(row))
        found = list(islice(ready, count))
        if not found:
            return {"jobs": [], "token": None}
        self.next_token += 1
        token = self.next_token
        for row in found:
            row.state, row.token, row.attempt, row.delivered = "leased", token, row.failed + 1, True
        self.leases[token] = HeldLease(found[:], self.now + span, span, session, bound, self.rng.random() < 0.3)
        if session.transaction:
            session.transaction.actions.append((n, "claim", token))
        return {"jobs": [[row.id, row.attempt, row.key, row.hash] for row in found], "token": token}

    def end(self, session, n, kind, token, ids):
        self.tick()
        rows = self.held(session, token, ids)
        session.transaction.actions.append((n, kind, token, rows))
        if kind == "ack":
            return {"count": len(rows)}
        dead = kind == "reject" or rows[0].failed + 1 >= rows[0].limit
        return {"dead": dead, "due": None if dead else self.now + QUEUES[rows[0].queue]["backoff"]}

    def release(self, session, token, ids):
        self.tick()
        for row in self.held(session, token, ids):
            self.leave(token, row)
            row.state, row.token, row.attempt = "ready", None, row.failed
        return {}

    def extend(self, token, span):
        self.tick()
        if token not in self.leases:
            raise Refused("OQ001")
        self.leases[token].deadline = self.now + span
        return {}

    def purge(self, session, n, queue):
        self.tick()
        rows = [row for row in self.unfinished[queue] if row.state == "ready"]
        for row in rows:
            row.state = "seized"
        session.transaction.actions.append((n, "purge", rows))
        return {"count": len(rows)}

    # ---- transactions

    def undo(self, session, since):
        kept = []
        for action in session.transaction.actions:
            if action[0] < since:
                kept.append(action)
            else:
                self.cancel(action)
        session.transaction.actions = kept
        return {}

    def cancel(self, action):
        if action[1] == "enqueue":
            self.remove(action[2])
        elif action[1] == "claim" and action[2] in self.leases:
            self.lose(action[2])
        elif action[1] == "purge":
            for row in action[2]:
                row.state = "ready"

    def abort(self, session):
        transaction, session.transaction = session.transaction, None
        for action in transaction.actions:
            self.cancel(action)
        return {}

    def commit(self, session):
        self.tick()
        transaction = session.transaction
        for _, kind, *rest in transaction.actions:
            if kind in ("ack", "nack", "reject") and any(row.token != rest[0] for row in rest[1]):
                self.abort(session)
                raise Refused("OQ001")
        session.transaction = None
        for _, kind, *rest in transaction.actions:
            if kind in ("enqueue", "purge"):
                for row in rest[0]:
                    row.state = "ready" if kind == "enqueue" else "cancelled"
            elif kind != "claim":
                self.finish(transaction, kind, *rest)
        self.marks.append(list(transaction.name))
        if not transaction.sync:
            self.recent.append((self.now, transaction))
        return {}

    def finish(self, transaction, kind, token, rows):
        for row in rows:
            self.leave(token, row)
            if kind == "ack":
                row.state, row.token = "succeeded", None
                self.effects.append([row.queue, row.id, token, *transaction.name])
                self.outcomes.append([row.queue, row.id, row.id, "acked", row.attempt])
            elif kind == "reject":
                row.state, row.token = "dead", None
                self.outcomes.append([row.queue, row.id, row.id, "dead", row.attempt])
            else:
                self.fail(row)

    # ---- the end of sessions and of the server

    def kill_session(self, session):
        session.alive = False
        if session.transaction:
            self.abort(session)
        for token, lease in list(self.leases.items()):
            if lease.bound and lease.session is session:
                self.lose(token)

    def stop(self, crash):
        self.up = False
        for session in self.sessions:
            session.alive = False
            if session.transaction:
                for action in session.transaction.actions:
                    if action[1] != "claim":
                        self.cancel(action)
                session.transaction = None
        self.sessions = []
        for token, lease in list(self.leases.items()):
            if crash and not lease.journalled or lease.bound:
                for row in self.leases.pop(token).rows:
                    row.state, row.token, row.attempt = "ready", None, row.failed
        if crash:
            for time, transaction in self.recent:
                if time > self.now - 0.2:
                    self.forget(transaction)

    def start(self):
        self.up = True
        for lease in self.leases.values():
            lease.deadline = self.now + lease.span

    def forget(self, transaction):
        """An asynchronous commit that had not reached the disk; only of what nobody has seen yet."""
        rows = [row for _, kind, *rest in transaction.actions for row in rest[-1] if kind == "enqueue"]
        if any(row.delivered for row in rows) or any(kind != "enqueue" for _, kind, *_ in transaction.actions):
            return
        self.remove(rows)
        self.marks.remove(list(transaction.name))

    def remove(self, rows):
        for row in rows:
            self.rows.remove(row)
            self.unfinished[row.queue].remove(row)

    def live(self):
        return any(row.state not in TERMINAL for rows in self.unfinished.values() for row in rows)


class Client:
    """Writes down what it does. Each method is a generator of delays."""

    def __init__(self, world, name):
        self.world, self.server, self.rng, self.name = world, world.server, world.rng, name
        self.n = self.tx = self.number = 0
        self.session = None
        self.transaction = None

    def call(self, op, effect, **fields):
        self.n += 1
        record = {"client": self.name, "n": self.n, "op": op, "session": self.number,
                  "t_invoke": self.server.now, **fields}
        self.world.records.append(record)
        yield self.rng.uniform(0.0005, 0.004)
        result = None
        try:
            if not self.session.alive:
                raise Lost
            result = effect()
            outcome = "ok"
        except Refused as error:
            outcome, result = "fail", {"sqlstate": str(error)}
        except Lost:
            outcome = "unknown"
        yield self.rng.uniform(0.0005, 0.004)
        if not self.session.alive:
            outcome = "unknown"
        record["t_return"], record["outcome"] = self.server.now, outcome
        if outcome == "unknown":
            record["lost"] = True
            raise Lost
        record.update(result)
        if outcome == "fail":
            raise Refused(record["sqlstate"])
        return record

    def begin(self, sync=True):
        self.tx += 1
        self.session.transaction = OpenTransaction((self.name, self.tx), sync)
        yield from self.call("begin", dict, tx=self.tx, mark=True, sync=sync)

    def commit(self):
        yield from self.call("commit", lambda: self.server.commit(self.session), tx=self.tx)

    def rollback(self):
        yield from self.call("rollback", lambda: self.server.abort(self.session), tx=self.tx)

    def live(self):
        while True:
            try:
                self.session = self.server.connect()
                self.number += 1
                while not self.world.done(self):
                    try:
                        yield from self.turn()
                    except Refused:
                        if self.session.transaction:
                            yield from self.rollback()
                    yield self.rng.uniform(0.005, 0.06)
                return
            except Lost:
                yield 0.05


class Producer(Client):
    def turn(self):
        queue = self.rng.choice(list(QUEUES))
        yield from self.begin(sync=self.rng.random() < 0.7)
        yield from self.enqueue(queue)
        if self.rng.random() < 0.15:
            since = self.n + 1
            yield from self.enqueue(queue)
            yield from self.call("undo", lambda: self.server.undo(self.session, since), tx=self.tx, since=since)
        yield from (self.rollback() if self.rng.random() < 0.15 else self.commit())

    def enqueue(self, queue):
        count = self.rng.choice((1, 1, 2, 5))
        jobs = [[f"{self.name}-{self.n + 1}-{i}", f"{self.rng.getrandbits(32):08x}"] for i in range(count)]
        delay = self.rng.uniform(0.1, 0.6) if queue == "plain" and self.rng.random() < 0.4 else 0
        limit = self.rng.choice((0, 0, 3)) if queue == "plain" else 0
        ordering = self.rng.choice("ab") if queue == "keyed" else None
        number = self.n + 1
        yield from self.call(
            "enqueue", lambda: self.server.enqueue(self.session, number, queue, jobs, delay, limit, ordering),
            tx=self.tx, queue=queue, jobs=jobs, delay=delay, max_attempts=limit, ordering=ordering)


class Consumer(Client):
    def turn(self):
        queue = self.rng.choice(list(QUEUES))
        inside = self.rng.random() < 0.2
        if inside:
            yield from self.begin()
        token, ids = yield from self.claim(queue, auto=not inside)
        if not ids:
            if inside:
                yield from self.rollback()
            elif self.rng.random() < 0.03 and not self.world.draining():
                yield from self.purge()
            return
        span = QUEUES[queue]["lease"]
        style = "ack" if self.world.draining() else self.rng.choices(
            ("ack", "nack", "reject", "release", "forget", "stall", "extend", "undo"),
            (10, 2, 1, 1, 1, 1, 1, 1))[0]
        if style in ("forget", "stall"):
            yield span * self.rng.uniform(0.5, 1.5)
        if style == "extend":
            yield from self.immediate("extend", lambda: self.server.extend(token, span), token=token, lease=span)
            yield span * 0.6
        if style == "release":
            yield from self.immediate("release", lambda: self.server.release(self.session, token, ids),
                                      token=token, ids=ids, queue=queue)
        elif style != "forget":
            yield from self.end(style if style in ("nack", "reject", "undo") else "ack", queue, token, ids, inside)
            return
        if inside:
            yield from (self.commit() if self.rng.random() < 0.5 else self.rollback())

    def claim(self, queue, auto):
        if auto:
            self.tx += 1
        number, count, span = self.n + 1, self.rng.choice((1, 3, 20)), QUEUES[queue]["lease"]
        bound = queue == "plain" and self.rng.random() < 0.3
        record = yield from self.call(
            "claim", lambda: self.server.claim(self.session, number, queue, count, span, bound), tx=self.tx,
            auto=auto, queue=queue, count=count, lease=span, hold="session" if bound else "time")
        return record["token"], [job[0] for job in record["jobs"]]

    def immediate(self, op, effect, **fields):
        inside = self.session.transaction is not None
        self.tx += not inside
        yield from self.call(op, effect, tx=self.tx, auto=not inside, **fields)

    def end(self, kind, queue, token, ids, inside):
        if not inside:
            yield from self.begin()
        if kind == "undo":
            since = self.n + 1
            yield from self.one_end("ack", queue, token, ids)
            yield from self.call("undo", lambda: self.server.undo(self.session, since), tx=self.tx, since=since)
            kind = "ack"
        for part in [ids] if kind == "ack" else [[number] for number in ids]:
            yield from self.one_end(kind, queue, token, part)
        yield from (self.rollback() if self.rng.random() < 0.1 and not self.world.draining() else self.commit())

    def one_end(self, kind, queue, token, ids):
        number = self.n + 1
        yield from self.call(kind, lambda: self.server.end(self.session, number, kind, token, ids), tx=self.tx,
                             queue=queue, token=token, ids=ids, effects=kind == "ack")

    def purge(self):
        yield from self.begin()
        number = self.n + 1
        yield from self.call("purge", lambda: self.server.purge(self.session, number, "few"), tx=self.tx, queue="few")
        yield from self.commit()


class World:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.server = Server(self.rng)
        self.records, self.events = [], []
        self.clients = [Producer(self, f"p{i}") for i in range(2)] + [Consumer(self, f"c{i}") for i in range(4)]
        self.line, self.sequence = [], 0

    def draining(self):
        return self.server.now > LOAD

    def done(self, client):
        return self.draining() and (isinstance(client, Producer) or not self.server.live())

    def nemesis(self):
        while self.server.now < LOAD - 1:
            yield self.rng.uniform(0.3, 1.5)
            event = {"event": "kill", "t_invoke": self.server.now}
            self.events.append(event)
            kind = self.rng.choice(("session", "session", "crash", "restart"))
            if kind == "session" and self.server.sessions:
                self.server.kill_session(self.rng.choice(self.server.sessions))
            elif kind != "session":
                event["stops"] = kind
                yield self.rng.uniform(0.001, 0.01)
                self.server.stop(crash=kind == "crash")
                yield self.rng.uniform(0.05, 0.2)
                self.server.start()
            yield 0.005
            event["t_return"] = self.server.now

    def run(self):
        for task in [client.live() for client in self.clients] + [self.nemesis()]:
            self.schedule(task, self.rng.uniform(0, 0.05))
        while self.line:
            time, _, task = heapq.heappop(self.line)
            self.server.now = time
            try:
                self.schedule(task, next(task))
            except StopIteration:
                pass

    def schedule(self, task, delay):
        self.sequence += 1
        heapq.heappush(self.line, (self.server.now + delay, self.sequence, task))

    def final(self):
        server = self.server
        jobs = {queue: [] for queue in QUEUES}
        for row in server.rows:
            if QUEUES[row.queue]["retained"]:
                jobs[row.queue].append([row.id, row.key, row.state, row.attempt])
        return {
            "queues": {name: {"retained": queue["retained"], "max_attempts": queue["max_attempts"],
                              "backoff_max": queue["backoff"], "backoff_jitter": 0.0}
                       for name, queue in QUEUES.items()},
            "jobs": jobs, "effects": server.effects, "marks": server.marks, "outcomes": server.outcomes,
            "stats": [{"queue": queue, "ready": 0, "scheduled": 0, "running": 0} for queue in QUEUES],
            "audit": [], "leases": [], "journal": [], "tables": [], "locks": [], "log": [],
        }


def make_history(seed):
    world = World(seed)
    world.run()
    return world.records, world.events, world.final()
