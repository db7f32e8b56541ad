"""Consumers: each turn claims from some queue and ends what it got in one of many styles."""
import time
from dataclasses import dataclass

from clients import CONSUMER_POINTS, DRAIN, JANITOR_POINTS, LOAD, Client, wall_to_monotonic
from events import Events
from reporting import Reporting
from rivals import Rivals
from scenario import KEY, QUEUES, Queue
from server import Failed, Lost
from several import Several

# How often each style is chosen. The rarer ones leave jobs to be delivered again.
STYLES = {
    "whole": 30, "inside": 10, "parts": 14, "savepoint": 6, "rolled_back": 6, "chain": 14, "exception": 2,
    "forget": 4, "extended": 4, "late": 3, "twice": 3, "stale": 3, "rivals": 4, "refused": 4, "snapshot": 5, "hog": 2, "undone": 2,
    "waiting": 6, "relay": 5, "revoked": 4, "order_some": 3, "renew": 3,
    "process": 5, "process_and_ack": 3, "several": 12, "reporting": 12, "regained": 4,
}


@dataclass
class Held:
    queue: Queue
    token: int
    ids: list
    keys: list = ()

    def part(self, ids):
        return Held(self.queue, self.token, ids)


def array(ids):
    return "'{" + ",".join(map(str, ids)) + "}'::bigint[]"


class Consumer(Events, Several, Reporting, Rivals, Client):
    points = CONSUMER_POINTS

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.left = []   # held, and to be ended by another session
        self.spent = []  # whatever was held once

    def turn(self, fault=None):
        if self.phase == DRAIN:
            self.drain()
            return
        if self.left and (fault and fault.startswith("stop") or self.rng.random() < 0.7):
            self.whole_of(self.left.pop(0), by="ids")
            return
        style = self.rng.choices(list(STYLES), STYLES.values())[0]
        if fault and (" fail: " in fault or "dead letter" in fault):
            style = "parts"
        queue = self.pick_queue(lambda queue: queue.consume)
        if fault and " turns: " in fault:
            queue = QUEUES["keyed"]
        if fault and "dead letter" in fault:
            queue = QUEUES["fatal"]
        getattr(self, style)(queue)

    def prepare(self, fault):
        """Who is to be stopped for long, in COMMIT perhaps, has something to end."""
        if fault.startswith("stop"):
            try:
                if held := self.claim(QUEUES["tiny"], 20):
                    self.left.insert(0, held)
            except Failed:
                pass

    def drain(self):
        if self.rng.random() < 0.2:
            self.order("keyed", "dead")  # they hold up others
        for queue in QUEUES.values():
            held = self.claim_any(list(QUEUES)) if self.rng.random() < 0.2 else self.claim(queue, 500)
            if held:
                self.whole_of(held)
        time.sleep(0.05)

    # ---- statements

    def claim(self, queue, count=None, wait=0, **where):
        count = count or self.rng.choice((1, 5, 30, 200))
        where = where or self.auto()
        result = self.call("claim", self.claim_sql(queue, count, wait), self.claimed, queue=queue.name,
                           count=count, lease=queue.lease, wait=wait, hold=queue.hold, **where)
        return self.hold(queue, result)

    @staticmethod
    def claimed(rows):
        lowest, highest, jobs = rows[0]
        if lowest != highest:
            raise AssertionError(f"two tokens in one claim: {lowest}, {highest}")
        found = (job.split(":") for job in (jobs or "").split())
        return {"jobs": [[int(number), int(attempt), key, digest] for number, attempt, key, digest in found],
                "token": lowest and int(lowest)}

    def claim_sql(self, queue, count, wait=0):
        more = f", wait => '{wait} s'" if wait else ""
        return self.columns(f"onceq.claim('{queue.name}', {count}, '{queue.lease} s', worker => '{self.name}',"
                            f" hold => '{queue.hold}'{more})")

    @staticmethod
    def columns(source, more=""):
        return (f"SELECT min(token), max(token), string_agg(concat_ws(':', id, attempt, {KEY},"
                f" substr(md5(payload::text), 1, 8)), ' '){more} FROM {source}")

    def hold(self, queue, result):
        if not result["jobs"]:
            time.sleep(self.rng.uniform(0.002, 0.03))
            return None
        held = Held(queue, result["token"], [job[0] for job in result["jobs"]],
                    [job[2] for job in result["jobs"]])
        self.spent.append(held)
        del self.spent[:-50]
        return held

    def ack(self, held, tx, by="token", **where):
        """The effects and the ack, both or neither."""
        arguments = held.token if by == "token" else f"{held.token}, {array(held.ids)}"
        self.call("ack", f"{self.effects_sql(held, tx)} SELECT onceq.ack({arguments})",
                  lambda rows: {"count": int(rows[0][0])}, tx=tx, queue=held.queue.name, token=held.token,
                  ids=held.ids, effects=True, **where)

    def effects_sql(self, held, tx):
        return (f"INSERT INTO chaos.effect SELECT '{held.queue.name}', unnest({array(held.ids)}), {held.token},"
                f" '{self.name}', {tx};")

    def nack(self, held, number, tx):
        retry, fields = "", {}
        if self.rng.random() < 0.7:
            fields["retry_in"] = round(self.rng.uniform(0, held.queue.retry_in), 3)
            retry = f", retry_in => '{fields['retry_in']} s'"

        def parse(rows):
            due = rows[0][0]
            return {"dead": due is None, "due": due and float(due) + wall_to_monotonic}
        self.call("nack", f"SELECT extract(epoch FROM onceq.nack({held.token}, {number}, 'again'{retry}))", parse,
                  tx=tx, queue=held.queue.name, token=held.token, ids=[number], **fields)

    def reject(self, held, number, tx):
        self.call("reject", f"SELECT onceq.reject({held.token}, {number}, 'never')", tx=tx,
                  queue=held.queue.name, token=held.token, ids=[number])

    def release(self, held, number=None, **where):
        where = where or self.auto()
        argument = f", {number}" if number else ""
        self.call("release", f"SELECT onceq.release({held.token}{argument})", queue=held.queue.name,
                  token=held.token, ids=[number] if number else held.ids, whole=not number, **where)

    # ---- styles

    def whole_of(self, held, by=None):
        """By ids it is all or nothing; by token the caller must know that it still is the whole lease."""
        tx = self.begin(sync=self.rng.random() < 0.9, settings=self.impatience())
        self.ack(held, tx, by or self.rng.choice(("token", "ids")))
        self.linger()
        self.commit(tx)

    def whole(self, queue):
        """Claim and ack in two transactions; sometimes another session will have to ack."""
        if self.rng.random() < 0.01:
            self.vanish("claim", self.claim_sql(queue, 5), queue=queue.name, count=5, lease=queue.lease,
                        hold=queue.hold, **self.auto())
        held = self.claim(queue)
        if held is None:
            return
        self.left.append(held)
        if queue.hold == "session" and self.rng.random() < 0.1:
            self.disconnect()
            return
        self.linger(0.1, 0.05)
        self.end_last()

    def end_last(self):
        """If the session is lost meanwhile, another will try."""
        self.whole_of(self.left[-1])
        self.left.pop()

    def inside(self, queue):
        """Claim and ack in one transaction."""
        tx = self.begin(settings=self.impatience())
        held = self.claim(queue, tx=tx)
        if held and self.rng.random() < 0.9:
            self.ack(held, tx)
        self.linger()
        (self.commit if self.rng.random() < 0.85 else self.rollback)(tx)

    def parts(self, queue):
        """Of one lease: some acked, some nacked, rejected, released."""
        held = self.claim(queue)
        if held is None:
            return
        ids = held.ids[:]
        self.rng.shuffle(ids)
        acked, others = ids[len(ids) // 4:], ids[:len(ids) // 4][:12]
        tx = self.begin(settings=self.impatience())
        for number in others:
            kind = self.rng.random()
            if kind < 0.7:
                self.nack(held, number, tx)
            elif kind < 0.8:
                self.reject(held, number, tx)
            else:
                self.release(held, number, tx=tx)
        if acked:
            self.ack(held.part(acked), tx, by="ids")
        self.linger()
        (self.commit if self.rng.random() < 0.9 else self.rollback)(tx)

    def savepoint(self, queue):
        """The ack is undone, and then made again, or not."""
        held = self.claim(queue)
        if held is None:
            return
        tx = self.begin()
        since = self.n + 1
        self.call("savepoint", "SAVEPOINT one", tx=tx)
        self.ack(held, tx)
        self.call("undo", "ROLLBACK TO SAVEPOINT one", tx=tx, since=since)
        if self.rng.random() < 0.3:
            more = self.n + 1
            self.claim(queue, 3, tx=tx)
            self.call("undo", "ROLLBACK TO SAVEPOINT one", tx=tx, since=more)
        if self.rng.random() < 0.7:
            self.ack(held, tx, by="ids")
        self.commit(tx)

    def rolled_back(self, queue):
        held = self.claim(queue)
        if held is None:
            return
        tx = self.begin()
        self.ack(held, tx)
        self.linger(0.3)
        self.rollback(tx)
        if self.rng.random() < 0.8:
            self.whole_of(held)

    def undone(self, queue):
        """What was claimed in vain cannot be extended."""
        tx = self.begin()
        held = self.claim(queue, tx=tx)
        self.rollback(tx)
        if held:
            self.extend(held, 5 * queue.lease)

    def exception(self, queue):
        """An ack in a PL/pgSQL block that ends by an exception has not happened."""
        held = self.claim(queue)
        if held is None:
            return
        tx = self.begin()
        self.call("block", f"""DO $$ BEGIN
            PERFORM onceq.ack({held.token}, {held.ids[0]});
            RAISE 'undo';
            EXCEPTION WHEN raise_exception THEN NULL; END $$""", tx=tx)
        self.ack(held, tx)
        self.commit(tx)

    def chain(self, queue):
        """ack_and_claim, again and again: one commit a batch."""
        held = None
        for _ in range(self.rng.randrange(2, 8)):
            count = self.rng.choice((1, 10, 50))
            tx = self.begin()
            held = self.ack_and_claim(queue, held, count, tx)
            self.linger(0.02)
            self.commit(tx)
            if held is None:
                return
        self.whole_of(held)

    def ack_and_claim(self, queue, held, count, tx):
        """Written down as an ack and a claim at the same time."""
        ended = held
        if ended is not None:
            self.n += 1
            number = self.n
            self.note(n=number, op="ack", session=self.session, t_invoke=time.monotonic(), tx=tx,
                      queue=queue.name, token=ended.token, ids=ended.ids, effects=True)

        effects = self.effects_sql(ended, tx) if ended else ""
        source = f"onceq.ack_and_claim({ended.token if ended else 'NULL'}, '{queue.name}', {count}, '{queue.lease} s')"
        outcome = {"outcome": "ok", "count": len(ended.ids) if ended else 0}
        try:
            result = self.call("claim", f"{effects} {self.columns(source)}", self.claimed, tx=tx, queue=queue.name,
                               count=count, lease=queue.lease)
        except Failed as error:
            outcome = {"outcome": "fail", "sqlstate": error.sqlstate}
            raise
        except Lost:
            outcome = {"outcome": "unknown", "lost": True}
            raise
        finally:
            if ended is not None:
                self.note(n=number, t_return=time.monotonic(), **outcome)
        return self.hold(queue, result)

    def relay(self, _):
        """Several leases of several queues end, and jobs of other queues begin, in one transaction."""
        names = self.rng.sample(sorted(QUEUES), 4)
        held = [one for name in names[:2] if (one := self.claim(QUEUES[name]))]
        tx = self.begin(sync=self.rng.random() < 0.9, settings=self.impatience())
        for one in held:
            self.ack(one, tx)
        for name in names[1:]:
            (self.enqueue if self.rng.random() < 0.5 else self.enqueue_many)(QUEUES[name], tx)
        self.linger()
        (self.commit if self.rng.random() < 0.85 else self.rollback)(tx)

    def forget(self, queue):
        held = self.claim(queue, 5)
        if held and self.rng.random() < 0.5:
            self.left.append(held)

    def extended(self, queue):
        held = self.claim(queue)
        if held is None:
            return
        self.left.append(held)
        for _ in range(self.rng.randrange(1, 4)):
            time.sleep(self.rng.uniform(0.1, 0.5) * min(queue.lease, 1))
            self.extend(held, self.rng.choice((queue.lease, 0.5 * queue.lease, 2 * queue.lease)))
        self.end_last()

    def late(self, queue):
        """Too slow, or nearly so."""
        queue = QUEUES["tiny"] if self.rng.random() < 0.7 else queue
        held = self.claim(queue, 20)
        if held is None:
            return
        time.sleep(queue.lease * self.rng.uniform(0.8, 1.2))
        for _ in range(self.rng.randrange(3)):
            self.report(held, held.ids[0])
        self.whole_of(held)

    def twice(self, queue):
        held = self.claim(queue)
        if held:
            self.whole_of(held)
            self.whole_of(held, by="ids")

    def stale(self, _):
        if self.spent:
            held = self.rng.choice(self.spent)
            if self.rng.random() < 0.5:
                self.report(held, self.rng.choice(held.ids))
            self.whole_of(held, by="ids")

    def renew(self, _):
        """A job with a unique key makes room for its successor."""
        queue = QUEUES["unique"]
        held = self.claim(queue, 2)
        if held is None:
            return
        tx = self.begin(settings=self.impatience())
        self.ack(held, tx, by="ids")
        for name in sorted({key.partition("@")[2] for key in held.keys} - {""}):
            self.enqueue(queue, tx, unique=name)
        self.linger()
        (self.commit if self.rng.random() < 0.85 else self.rollback)(tx)

    def snapshot(self, queue):
        isolation = self.rng.choice(("repeatable read", "serializable"))
        tx = self.begin(isolation)
        held = self.claim(queue, tx=tx, isolation=isolation)
        if held:
            self.ack(held, tx)
        self.commit(tx)

    def waiting(self, queue):
        held = self.claim(queue, wait=self.rng.choice((0.05, 0.3, 1, 4)))
        if held:
            self.whole_of(held)

    def hog(self, queue):
        """Many leases at once, more than a small server has; given back, or left to expire."""
        held = []
        try:
            for _ in range(40):
                one = self.claim(queue, 1)
                if one is None:
                    break
                held.append(one)
        finally:
            if self.connection and self.rng.random() < 0.7:
                for one in held:
                    self.release(one)


class Janitor(Client):
    """Does by hand what the worker does, looks at what there is to see, and purges one queue."""
    points = JANITOR_POINTS

    def turn(self, fault=None):
        if self.phase == LOAD:
            style = self.rng.choice((self.recover, self.recover, self.maintain, self.look, self.audit, self.purge,
                                     self.pause, self.order_some, self.order_some, self.order_some))
            for word, meant in (("cancel", self.order_some), ("redrive", self.order_some), ("expire", self.recover), ("due", self.recover), ("journal", self.maintain),
                                ("room", self.maintain), ("segments", self.maintain), ("seize", self.purge),
                                ("audit", self.audit)):
                if fault and f" {word}:" in fault:
                    style = meant
            style()
        time.sleep(0.02 if fault else self.rng.uniform(0.05, 0.3))

    def recover(self):
        self.call("recover", "CALL onceq.recover()", **self.auto())

    def maintain(self):
        self.call("maintain", "CALL onceq.maintain()", **self.auto())

    def look(self):
        queue = self.rng.choice(list(QUEUES))
        self.call("look", f"SELECT count(*) FROM onceq.jobs('{queue}', count => 1000);"
                  " SELECT count(*) FROM onceq.leases; SELECT count(*) FROM onceq.queue_stats", **self.auto())

    def audit(self):
        queue = self.rng.choice(list(QUEUES))
        self.call("audit", f"SELECT count(*), string_agg(found::text, ' ') FROM onceq.audit('{queue}') found",
                  lambda rows: {"count": int(rows[0][0]), "found": rows[0][1]}, queue=queue, **self.auto())

    def pause(self):
        self.call("pause", "SELECT onceq.pause_queue('purged')", queue="purged", **self.auto())
        time.sleep(self.rng.uniform(0.05, 0.5))
        self.call("resume", "SELECT onceq.resume_queue('purged')", queue="purged", **self.auto())

    def purge(self):
        tx = self.begin()
        self.call("purge", "SELECT onceq.purge_queue('purged')", lambda rows: {"count": int(rows[0][0])}, tx=tx,
                  queue="purged")
        self.linger(0.3)
        (self.rollback if self.rng.random() < 0.3 else self.commit)(tx)
