"""Good histories, made up: a perfect queue in virtual time, with clients that crash and a server that is killed.

make_history(seed) gives (records, events, final) as a run of run.py would leave them, but within
milliseconds and without a server. checker_test.py makes bad ones of them.
"""
import heapq
import random

from synthetic_server import QUEUES, Lost, OpenTransaction, Refused, Server

LOAD = 3.0  # virtual seconds with producers and faults
COMMON, RARE = ("session", "session", "crash", "restart"), ("clock", "clock", "restore")
COMMON_ONLY = 40  # the last seed without the rare ones, which make many a change to a history possible


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
        delay = self.rng.uniform(0.1, 0.6) if queue in ("plain", "keyed") and self.rng.random() < 0.4 else 0
        limit = self.rng.choice((0, 0, 3)) if queue == "plain" else 0
        keys = QUEUES[queue].get("keys")
        ordering = self.rng.choice(keys) if keys and self.rng.random() < 0.9 else None
        number = self.n + 1
        if "unique" in QUEUES[queue]:
            mode, delay = self.rng.choice(("skip", "replace", "debounce")), self.rng.choice((0, 0.2))
            delay, span = 0 if mode == "replace" else delay, self.rng.choice((0, 0, 0.3))
            name = self.rng.choice(QUEUES[queue]["unique"])
            yield from self.call(
                "enqueue", lambda: self.server.enqueue_unique(self.session, number, queue, jobs[:1], delay, name, mode, span),
                tx=self.tx, queue=queue, jobs=jobs[:1], delay=delay, unique=name, mode=mode, unique_for=span)
            return
        yield from self.call(
            "enqueue", lambda: self.server.enqueue(self.session, number, queue, jobs, delay, limit, ordering),
            tx=self.tx, queue=queue, jobs=jobs, delay=delay, max_attempts=limit, ordering=ordering)


class Consumer(Client):
    def turn(self):
        queue = self.rng.choice(list(QUEUES))
        inside = self.rng.random() < 0.2
        if inside:
            yield from self.begin()
        queue, token, ids = yield from (self.claim_any if self.rng.random() < 0.2 else self.claim)(queue, not inside)
        if not ids:
            if inside:
                yield from self.rollback()
            elif self.rng.random() < 0.03 and not self.world.draining():
                yield from self.purge()
            elif self.rng.random() < 0.3:
                yield from (self.administrate() if self.rng.random() < 0.7 else self.process())
            return
        span = QUEUES[queue]["lease"]
        style = "ack" if self.world.draining() else self.rng.choices(
            ("ack", "nack", "reject", "release", "forget", "stall", "extend", "report", "undo"),
            (10, 2, 1, 1, 1, 1, 1, 2, 1))[0]
        if style in ("forget", "stall"):
            yield span * self.rng.uniform(0.5, 1.5)
        if style == "extend":
            yield from self.immediate("extend", lambda: self.server.extend(token, span), token=token, lease=span)
            yield span * 0.6
        if style == "report":
            yield from self.report(queue, token, ids, span)
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
        return queue, record["token"], [job[0] for job in record["jobs"]]

    def claim_any(self, queue, auto):
        if auto:
            self.tx += 1
        others = [other for other in QUEUES if other != queue]
        queues = self.rng.sample([queue, *self.rng.sample(others, 2)], 3)
        weights = [1, 2, 3] if self.rng.random() < 0.4 else []
        number, count = self.n + 1, self.rng.choice((1, 3, 20))
        record = yield from self.call(
            "claim", lambda: self.server.claim_any(self.session, number, queues, weights, count), tx=self.tx, auto=auto,
            queues=queues, weights=weights, count=count)
        return record["queue"], record["token"], [job[0] for job in record["jobs"]]

    def report(self, queue, token, ids, span):
        """And others look at it; perhaps somebody cancels one of the jobs."""
        for _ in range(4):
            number, value = self.rng.choice(ids), self.rng.getrandbits(30)
            kind = self.rng.random()
            if kind < 0.6:
                yield from self.immediate("progress", lambda: self.server.progress(self.session, token, number, value),
                                          queue=queue, token=token, ids=[number], value=value)
            elif kind < 0.75:
                yield from self.immediate("watch", lambda: self.server.watch(queue, number), queue=queue, ids=[number])
            elif kind < 0.9:
                yield from self.immediate("extend", lambda: self.server.extend(token, span), token=token, lease=span)
            yield self.rng.uniform(0.01, 0.1)

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

    def process(self):
        """Events, some of them again; sometimes undone, and marked once more."""
        yield from self.begin(sync=self.rng.random() < 0.7)
        events = self.rng.choices([f"e{i}" for i in range(30)], k=self.rng.choice((1, 1, 3)))
        since = self.n + 1
        for undone in (True, False) if self.rng.random() < 0.2 else (False,):
            number = self.n + 1
            yield from self.call("once", lambda: self.server.once(self.session, number, events), tx=self.tx,
                                 consumer="billing", events=events)
            if undone:
                yield from self.call("undo", lambda: self.server.undo(self.session, since), tx=self.tx, since=since)
        yield from (self.rollback() if self.rng.random() < 0.2 else self.commit())

    def administrate(self):
        """Cancels or redrives a job or two."""
        stuck = [row for row in self.server.rows if row.state == "dead" and not self.server.is_over(row)]
        some = stuck if self.world.draining() else self.server.rows[-30:] + stuck * 5
        if not some:
            return
        yield from self.begin()
        for row in self.rng.sample(some, min(len(some), self.rng.choice((1, 2)))):
            dead = row.state == "dead" and self.rng.random() < 0.8
            op, effect = ("redrive", self.server.redrive) if dead else ("cancel", self.server.cancel_job)
            number = self.n + 1
            yield from self.call(op, lambda: effect(self.session, number, row), tx=self.tx, queue=row.queue, ids=[row.id])
        yield from (self.rollback() if self.rng.random() < 0.2 else self.commit())

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
        self.line, self.sequence, self.calm = [], 0, False
        self.kinds = COMMON if seed <= COMMON_ONLY else COMMON + RARE

    def draining(self):
        return self.server.now > LOAD

    def done(self, client):
        return self.draining() and (isinstance(client, Producer) or self.calm and not self.server.live())

    def nemesis(self):
        while self.server.now < LOAD - 1:
            yield self.rng.uniform(0.3, 1.5)
            event = {"event": "kill", "t_invoke": self.server.now}
            self.events.append(event)
            kind = self.rng.choice(self.kinds)
            if kind == "session" and self.server.sessions:
                self.server.kill_session(self.rng.choice(self.server.sessions))
            elif kind == "clock":
                event["clock"] = [self.server.ahead, max(self.server.ahead + self.rng.choice((-1, 1, 3600)), 0)]
                self.server.ahead = event["clock"][1]
            elif kind == "restore":
                dump, event["lossy_since"] = self.server.dump(), self.server.now
                yield self.rng.uniform(0.1, 0.5)
                event.update(t_invoke=self.server.now, stops="crash", moved=True)
                self.server.stop(crash=False)
                self.server.restore(dump)
                yield self.rng.uniform(0.05, 0.2)
                self.server.start()
            elif kind != "session":
                event["stops"] = kind
                yield self.rng.uniform(0.001, 0.01)
                self.server.stop(crash=kind == "crash")
                yield self.rng.uniform(0.05, 0.2)
                self.server.start()
            yield 0.005
            event["t_return"] = self.server.now
        self.calm = True

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
                jobs[row.queue].append([row.id, row.key, row.state, row.attempt, *filter(None, [row.successor])])
        return {
            "queues": {name: {"retained": queue["retained"], "max_attempts": queue["max_attempts"],
                              "backoff_max": queue["backoff"], "backoff_jitter": 0.0,
                              "on_dead_key": queue.get("on_dead_key", "block"), "durable": queue.get("durable", False),
                              "dead_letter_queue": queue.get("dead_letter_queue", ""),
                              "soft_time_limit": queue.get("soft_time_limit", 0),
                              "hard_time_limit": queue.get("hard_time_limit", 0),
                              "max_running": queue.get("max_running", 0),
                              **{name: queue.get(name, 0) for name in ("rate_limit", "rate_period", "rate_burst")},
                              "max_running_per_key": queue.get("max_running_per_key", 0)}
                       for name, queue in QUEUES.items()},
            "jobs": jobs, "effects": server.effects, "marks": server.marks, "outcomes": server.outcomes,
            "stats": [{"queue": queue, "ready": 0, "scheduled": 0, "running": 0} for queue in QUEUES],
            "processed": server.processed, "ledger": [row[:2] for row in server.processed],
            "audit": [], "leases": [], "journal": [], "tables": [], "locks": [], "log": [],
        }


def make_history(seed):
    world = World(seed)
    world.run()
    return world.records, world.events, world.final()
