"""A perfect queue in virtual time: what synthetic.py's clients talk to. Each statement is one moment."""
from dataclasses import dataclass, field, replace

from records import TERMINAL

QUEUES = {
    "plain": {"retained": True, "max_attempts": 6, "lease": 1.0, "backoff": 0.05},
    "few": {"retained": True, "max_attempts": 2, "lease": 0.3, "backoff": 0.1},
    "keyed": {"retained": True, "max_attempts": 1000, "lease": 0.5, "backoff": 0.05, "keys": "ab"},
    "onward": {"retained": True, "max_attempts": 2, "lease": 0.3, "backoff": 0.1, "keys": "cd",
               "on_dead_key": "continue"},
    "limited": {"retained": True, "max_attempts": 5, "lease": 0.3, "backoff": 0.05, "keys": "ef",
                "on_dead_key": "continue", "max_running": 3, "max_running_per_key": 2},
    "unique": {"retained": True, "max_attempts": 3, "lease": 0.3, "backoff": 0.05, "unique": "uvw"},
    "durable": {"retained": True, "max_attempts": 6, "lease": 0.5, "backoff": 0.05, "durable": True},
    "fatal": {"retained": True, "max_attempts": 2, "lease": 0.3, "backoff": 0.05, "dead_letter_queue": "letters"},
    "letters": {"retained": True, "max_attempts": 1000, "lease": 0.5, "backoff": 0.05},
    "hard": {"retained": True, "max_attempts": 6, "lease": 1.0, "backoff": 0.05, "soft_time_limit": 0.15, "hard_time_limit": 0.3},
    "rated": {"retained": True, "max_attempts": 6, "lease": 0.5, "backoff": 0.05,
              "rate_limit": 5, "rate_period": 0.5, "rate_burst": 3},
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
    unique: str | None = None
    unique_until: float = 0
    successor: int | None = None
    progress: int | None = None

    def __post_init__(self):
        self.base_limit = self.limit


@dataclass(eq=False)
class HeldLease:
    rows: list
    deadline: float
    span: float
    session: object
    bound: bool  # to its session
    journalled: bool
    limit: float  # no later than that, however often it is extended
    soft_limit: float
    cancelled: list = field(default_factory=list)


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
        self.now = self.begun = 0.0
        self.ahead = 0  # of now, the clock by which jobs become due
        self.up = True
        self.rows = []
        self.unfinished = {queue: [] for queue in QUEUES}  # a superset
        self.next_id = dict.fromkeys(QUEUES, 1)
        self.next_token = 1000
        self.leases = {}
        self.sessions = []
        self.marks, self.effects, self.outcomes = [], [], []
        self.processed = []  # events, each with the transaction that marked it
        self.recent = []  # asynchronous commits that a crash may take away
        self.levels = {}  # of queues with a rate: how many may be delivered, and when that was

    def connect(self):
        if not self.up:
            raise Lost
        self.sessions.append(Session())
        return self.sessions[-1]

    def clock(self):
        return self.now + self.ahead

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
        row.attempt, row.progress = row.failed, None
        dead = row.failed >= row.limit
        row.state, row.token = "dead" if dead else "ready", None
        row.due = self.clock() + QUEUES[row.queue]["backoff"]
        self.outcomes.append([row.queue, row.id, row.id, "dead" if dead else "failed", row.failed])
        if dead:
            self.send_letter(row)

    def send_letter(self, row):
        if target := QUEUES[row.queue].get("dead_letter_queue"):
            copy = Row(target, self.next_id[target], f"{row.key}#{row.attempt}", row.hash, self.clock(),
                       QUEUES[target]["max_attempts"], None)
            self.next_id[target] += 1
            self.rows.append(copy)
            self.unfinished[target].append(copy)

    def leave(self, token, row):
        lease = self.leases[token]
        lease.rows.remove(row)
        row.progress = None
        if not lease.rows:
            del self.leases[token]

    def blocked(self, row, taken):
        """One of its key runs, or comes first. What is not committed holds nobody up."""
        limit = QUEUES[row.queue].get("max_running_per_key")
        if limit and row.ordering is not None:
            return limit <= sum(other.ordering == row.ordering and (other.state == "leased" or other in taken)
                                for other in self.unfinished[row.queue])
        return row.ordering is not None and any(
            other.ordering == row.ordering and (
                other.state == "leased" or other in taken or other.id < row.id and other.state in ("ready", "dead", "seized"))
            for other in self.unfinished[row.queue])

    @staticmethod
    def is_over(row):
        blocks = row.state == "dead" and row.ordering is not None and "on_dead_key" not in QUEUES[row.queue]
        return row.state in TERMINAL and not blocks

    def take(self, queue, count):
        found, limit = [], QUEUES[queue].get("max_running", 1000)
        count = min(count, limit - sum(row.state == "leased" for row in self.unfinished[queue]), self.allowed(queue))
        for row in self.unfinished[queue]:
            if (len(found) < count and row.state == "ready" and row.due <= self.clock()
                    and not self.blocked(row, found)):
                found.append(row)
        return found

    def allowed(self, queue):
        if "rate_limit" not in QUEUES[queue]:
            return 1000
        level, since = self.levels.get(queue, (0, self.begun))
        rate = QUEUES[queue]["rate_limit"] / QUEUES[queue]["rate_period"]
        self.levels[queue] = min(level + rate * (self.now - since), QUEUES[queue]["rate_burst"]), self.now
        return int(self.levels[queue][0])

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
            rows.append(Row(queue, self.next_id[queue], key, checksum, self.clock() + delay,
                            limit or QUEUES[queue]["max_attempts"], ordering, "reserved"))
            self.next_id[queue] += 1
        self.rows += rows
        self.unfinished[queue] += rows
        session.transaction.actions.append((n, "enqueue", rows))
        return {"ids": [row.id for row in rows]}

    def enqueue_unique(self, session, n, queue, jobs, delay, key, mode, span):
        """Who would have to wait for another transaction gives up."""
        self.tick()
        mine = [row for action in session.transaction.actions if action[1] == "enqueue" for row in action[2]]
        others = [row for row in self.rows if row.queue == queue and row.unique == key]
        ended = [row for action in session.transaction.actions if action[1] == "ack" for row in action[3]]
        old = [row for row in others if (row.state not in TERMINAL or row.unique_until > self.now) and row not in ended]
        if any(row.state in ("reserved", "seized") and row not in mine for row in old):
            raise Refused("55P03")
        if any(row in mine or mode == "skip" or row.state != "ready" for row in old):
            return {"ids": []}
        result = self.enqueue(session, n, queue, jobs, delay, 0, None)
        new = self.rows[-1]
        new.unique, new.unique_until = key, self.now + span
        for row in old:
            new.due = row.due if mode == "replace" else new.due
            session.transaction.actions.append((n, "cancel", [row], row.state, row.token))
            row.state, row.successor = "seized", new.id
        return result

    def claim(self, session, n, queue, count, span, bound):
        self.tick()
        self.unfinished[queue] = [row for row in self.unfinished[queue] if not self.is_over(row)]
        found = self.take(queue, count)
        if not found:
            return {"jobs": [], "token": None}
        if queue in self.levels:
            self.levels[queue] = self.levels[queue][0] - len(found), self.now
        self.next_token += 1
        token = self.next_token
        for row in found:
            row.state, row.token, row.attempt, row.delivered = "leased", token, row.failed + 1, True
        hard = QUEUES[queue].get("hard_time_limit", 100)
        self.leases[token] = HeldLease(found[:], self.now + min(span, hard), min(span, hard), session, bound,
                                       "durable" in QUEUES[queue] or self.rng.random() < 0.3, self.now + hard, self.now + QUEUES[queue].get("soft_time_limit", 100))
        if session.transaction:
            session.transaction.actions.append((n, "claim", token))
        return {"jobs": [[row.id, row.attempt, row.key, row.hash] for row in found], "token": token}

    def claim_any(self, session, n, queues, weights, count):
        for queue in self.rng.sample(queues, len(queues)) if weights else queues:
            result = self.claim(session, n, queue, count, QUEUES[queue]["lease"], False)
            if result["jobs"]:
                return {**result, "queue": queue, "lease": QUEUES[queue]["lease"]}
        return {"jobs": [], "token": None, "queue": None}

    def end(self, session, n, kind, token, ids):
        self.tick()
        rows = self.held(session, token, ids)
        session.transaction.actions.append((n, kind, token, rows))
        if kind == "ack":
            return {"count": len(rows)}
        dead = kind == "reject" or rows[0].failed + 1 >= rows[0].limit
        return {"dead": dead, "due": None if dead else self.clock() + QUEUES[rows[0].queue]["backoff"]}

    def release(self, session, token, ids):
        self.tick()
        for row in self.held(session, token, ids):
            self.leave(token, row)
            row.state, row.token, row.attempt = "ready", None, row.failed
        if session.transaction is None and self.rng.random() < 0.2:
            raise Refused("57014")  # by a timeout that came late
        return {}

    def extend(self, token, span):
        self.tick()
        if token not in self.leases:
            raise Refused("OQ001")
        lease = self.leases[token]
        lease.deadline = min(self.now + span, lease.limit)
        soft = [row.id for row in lease.rows] if lease.soft_limit <= self.now else []
        return {"soft": soft, "cancelled": lease.cancelled[:]}

    def progress(self, session, token, number, value):
        self.tick()
        if token in self.leases and number in self.leases[token].cancelled:
            return {"cancelled": [number]}
        row, = self.held(session, token, [number])
        row.progress = value
        return {"soft": [number] * (self.leases[token].soft_limit <= self.now)}

    def watch(self, queue, number):
        self.tick()
        return {"value": next((row.progress for row in self.rows if (row.queue, row.id) == (queue, number)), None)}

    def purge(self, session, n, queue):
        self.tick()
        rows = [row for row in self.unfinished[queue] if row.state == "ready"]
        for row in rows:
            row.state = "seized"
        session.transaction.actions.append((n, "purge", rows))
        return {"count": len(rows)}

    def once(self, session, n, events):
        """Who would have to wait for another transaction gives up."""
        mine = [event for action in session.transaction.actions if action[1] == "once" for event in action[2]]
        others = [event for other in self.sessions if other.transaction and other is not session
                  for action in other.transaction.actions if action[1] == "once" for event in action[2]]
        if set(events) & set(others):
            raise Refused("55P03")
        seen, new = {event for _, event, *_ in self.processed}.union(mine), []
        for event in events:
            new.append(event not in seen)
            seen.add(event)
        session.transaction.actions.append((n, "once", [event for event, is_new in zip(events, new) if is_new]))
        return {"new": new}

    def cancel_job(self, session, n, row):
        self.tick()
        if row.state == "seized":
            raise Refused("55P03")
        if row.state == "reserved" or self.is_over(row) or row not in self.rows:
            return {"count": 0}
        session.transaction.actions.append((n, "cancel", [row], row.state, row.token))
        if row.state != "leased":
            row.state = "seized"
        return {"count": 1}

    def redrive(self, session, n, row):
        self.tick()
        if row.state == "seized":
            raise Refused("55P03")
        if row.state != "dead":
            return {"count": 0}
        session.transaction.actions.append((n, "redrive", [row], row.state))
        row.state = "seized"
        return {"count": 1}

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
        elif action[1] in ("cancel", "redrive") and action[2][0].state == "seized":
            action[2][0].state, action[2][0].successor = action[3], None

    def abort(self, session):
        transaction, session.transaction = session.transaction, None
        for action in transaction.actions:
            self.cancel(action)
        return {}

    def commit(self, session):
        self.tick()
        transaction = session.transaction
        for _, kind, *rest in transaction.actions:
            lost = kind in ("ack", "nack", "reject") and any(row.token != rest[0] for row in rest[1])
            if lost or kind == "cancel" and rest[1] == "leased" and rest[0][0].token != rest[2]:
                self.abort(session)
                raise Refused("OQ001")
        session.transaction = None
        for _, kind, *rest in transaction.actions:
            if kind in ("enqueue", "purge"):
                for row in rest[0]:
                    row.state = "ready" if kind == "enqueue" else "cancelled"
            elif kind == "cancel":
                self.finish_cancel(*rest[0])
            elif kind == "redrive":
                self.revive(*rest[0])
            elif kind == "once":
                self.processed += [["billing", event, *transaction.name] for event in rest[0]]
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
                self.send_letter(row)
            else:
                self.fail(row)

    def finish_cancel(self, row):
        if row.token is not None:
            self.leases[row.token].cancelled.append(row.id)
            self.leave(row.token, row)
        row.state, row.token = "cancelled", None
        self.outcomes.append([row.queue, row.id, row.id, "cancelled", row.attempt])

    def revive(self, row):
        row.state, row.due = "ready", self.now
        row.failed, row.limit = row.attempt, row.attempt + row.base_limit
        self.outcomes.append([row.queue, row.id, row.id, "redriven", row.attempt])
        if row not in self.unfinished[row.queue]:
            self.unfinished[row.queue].append(row)
            self.unfinished[row.queue].sort(key=lambda other: other.id)

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
        self.levels, self.begun = {}, self.now
        for row in self.rows:
            row.progress = None
        for lease in self.leases.values():
            lease.soft_limit += self.now + lease.span - lease.deadline
            lease.limit += self.now + lease.span - lease.deadline
            lease.deadline = self.now + lease.span

    def dump(self):
        """What another server would know of all this."""
        redriven = [action[2][0] for session in self.sessions if session.transaction
                    for action in session.transaction.actions if action[1] == "redrive"]
        rows = []
        for row in self.rows:
            state = row.state if row.state in TERMINAL else "dead" if row in redriven else "ready"
            if row.state != "reserved":
                rows.append(replace(row, progress=None, state=state, token=None,
                                    attempt=row.attempt if state in TERMINAL else row.failed,
                                    successor=row.successor if state == "cancelled" else None))
        return rows, self.marks[:], self.effects[:], self.outcomes[:], self.processed[:]

    def restore(self, dump):
        self.rows, self.marks, self.effects, self.outcomes, self.processed = dump
        self.leases, self.recent = {}, []
        for queue in QUEUES:
            self.unfinished[queue] = [row for row in self.rows if row.queue == queue]
            self.next_id[queue] = max((row.id for row in self.unfinished[queue]), default=0) + 1

    def forget(self, transaction):
        """An asynchronous commit that had not reached the disk; only of what nobody has seen yet."""
        rows = [row for _, kind, *rest in transaction.actions if kind == "enqueue" for row in rest[-1]]
        if any(row.delivered or row.state != "ready" or row.unique for row in rows) or any(kind != "enqueue" for _, kind, *_ in transaction.actions):
            return
        self.remove(rows)
        self.marks.remove(list(transaction.name))

    def remove(self, rows):
        for row in rows:
            self.rows.remove(row)
            self.unfinished[row.queue].remove(row)
            row.state = "reserved"

    def live(self):
        return any(not self.is_over(row) for rows in self.unfinished.values() for row in rows)
