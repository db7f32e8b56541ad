"""A history: what clients and the nemesis wrote down, and what the database says in the end.

How the lines look is told in README.md. Here they are put together (records.py): operations, transactions and
what became of them, stops of the server, leases with their deliveries and with all that may have ended them.
"""
import json
from dataclasses import replace
from pathlib import Path

from clock import Clock
from letters import collect_copies
from records import AT_ONCE, ENDS, FIELDS, FOREVER, ORDERS, Delivery, End, Job, Lease, Operation, Stop, Transaction


class History:
    """problems: what is wrong with the transactions themselves, as (rule, text)."""

    def __init__(self, records, events, final):
        self.final = final
        self.events = events
        self.problems = []
        self.operations = list(self._merge(records))
        self.stops = self._stops()
        self.clock = Clock(events)
        self.transactions = self._transactions()
        self.jobs, self.by_id, self.by_key = [], {}, {}
        self._collect_jobs()
        self.leases, self.strangers = {}, []
        self._collect_leases()
        self._collect_orders()
        self._collect_ends()
        for lease in self.leases.values():
            self._bound(lease)
        for job in self.jobs:
            job.deliveries.sort(key=lambda delivery: delivery.end)

    @classmethod
    def load(cls, folder):
        records, events = [], []
        for file in sorted(Path(folder).glob("*.jsonl")):
            lines = file.read_text().splitlines()
            for number, line in enumerate(lines, 1):
                try:
                    record = json.loads(line)
                except ValueError:
                    if number == len(lines):  # its writer was killed
                        continue
                    raise
                record.setdefault("client", file.stem)
                (events if "event" in record else records).append(record)
        return cls(records, events, json.loads((Path(folder) / "final.json").read_text()))

    # ---- operations and stops

    @staticmethod
    def _merge(records):
        pending = {}
        for record in records:
            known = {name: value for name, value in record.items() if name in FIELDS}
            name = record["client"], record["n"]
            if "op" in record:
                pending[name] = Operation(**known)
            else:
                operation = pending[name]
                for field_name, value in known.items():
                    setattr(operation, field_name, value)
        return pending.values()

    def _stops(self):
        found = [Stop(event["t_invoke"], event.get("t_return") or FOREVER, event["stops"], event.get("lossy_since"),
                      event.get("moved", False))
                 for event in self.events if event.get("stops")]
        return sorted(found, key=lambda stop: stop.begin)

    def stop_after(self, time):
        """When the next stop is over: by then whatever was under way has happened, or never will."""
        return min((stop.end for stop in self.stops if stop.begin >= time), default=FOREVER)

    def forgets(self, first, second):
        """Whether what was done at the first moment may be unknown to the server at the second."""
        return any(stop.lossy_since is not None and stop.lossy_since < first and stop.begin < second
                   for stop in self.stops)

    def forgets_what_was_delivered(self, delivery):
        """Whether the job may have been there for this delivery only, and not, or not yet again, after a stop."""
        return any(stop.lossy_since is not None and stop.lossy_since < delivery.end and stop.end > delivery.begin
                   for stop in self.stops)

    # ---- transactions

    def _transactions(self):
        found = {}
        marks = {tuple(mark) for mark in self.final["marks"]}
        for operation in self.operations:
            if operation.tx is None:
                continue
            name = operation.client, operation.tx
            transaction = found.get(name) or found.setdefault(name, Transaction(*name))
            transaction.operations.append(operation)
            transaction.marked |= operation.mark
            transaction.sync &= operation.sync
            if operation.auto or operation.op in ("commit", "rollback"):
                transaction.ending = operation
        for transaction in found.values():
            self._resolve(transaction, marks)
        return found

    def _resolve(self, transaction, marks):
        ending = transaction.ending
        if ending is None or ending.op == "rollback":
            told = "aborted"
        else:
            told = {"ok": "committed", "fail": "aborted"}.get(ending.outcome, "unknown")
        transaction.status = told
        if transaction.marked:
            stored = (transaction.client, transaction.number) in marks
            transaction.status = "committed" if stored else "aborted"
            self._compare(transaction, told)
        if ending is not None:
            transaction.begin = ending.t_invoke
            transaction.end = ending.t_return if told == "committed" else self.stop_after(ending.t_invoke)
        transaction.aborted_from = self._aborted_from(transaction)
        self._undo(transaction)

    def _compare(self, transaction, told):
        name = f"transaction {transaction.client}:{transaction.number}"
        if told == "aborted" and transaction.status == "committed":
            self.problems.append(("R2", f"{name} failed, but its rows are there"))
        if told != "aborted" and transaction.status == "aborted":
            committed = transaction.ending.t_return if told == "committed" else transaction.ending.t_invoke
            may_be = [stop.end for stop in self.stops if stop.kind == "crash" and stop.end > committed
                      and (not transaction.sync or stop.lossy_since is not None and stop.lossy_since < committed)]
            transaction.lost_at = max(may_be, default=None)
            if told == "committed" and transaction.lost_at is None:
                self.problems.append(("R1", f"{name} was committed, but its rows are gone"))

    @staticmethod
    def _aborted_from(transaction):
        """Since when the transaction may have been aborted, should it have been."""
        last = None
        for operation in transaction.operations:
            if operation.op in ("commit", "rollback") or operation.outcome != "ok":
                if operation.lost and last is not None:
                    return last.t_invoke
                return operation.t_invoke
            last = operation
        return last.t_invoke if last is not None else FOREVER

    @staticmethod
    def _undo(transaction):
        """Rollbacks to savepoints: what they undid, and since when."""
        failed = None
        for number, operation in enumerate(transaction.operations):
            if operation.outcome == "fail" and failed is None:
                failed = operation.t_invoke
            if operation.op != "undo":
                continue
            since = min(operation.t_invoke, failed if failed is not None else FOREVER)
            for earlier in transaction.operations[:number]:
                if earlier.n >= operation.since and earlier.undone is None:
                    earlier.undone = since
            failed = None

    def transaction_of(self, operation):
        return self.transactions[operation.client, operation.tx]

    def status_of(self, operation):
        """Whether what the statement did in its transaction has come true."""
        if operation.undone is not None or operation.outcome == "fail":
            return "aborted"
        if operation.outcome == "unknown" and not operation.auto:
            return "aborted"  # the connection was lost before COMMIT
        return self.transaction_of(operation).status

    # ---- jobs

    def _collect_jobs(self):
        for operation in self.operations:
            if operation.op != "enqueue" or operation.unique and operation.outcome == "ok" and not operation.ids:
                continue
            status = self.status_of(operation)
            for index, (key, checksum) in enumerate(operation.jobs):
                job = Job(operation.queue, key, checksum, operation, status=status)
                job.id = operation.ids[index] if operation.ids else None
                self.jobs.append(job)
                self.by_key[operation.queue, key] = job
        collect_copies(self)
        for queue, rows in self.final["jobs"].items():
            for row in rows:
                self._name(queue, row[0], row[1])

    def _name(self, queue, number, key):
        """An enqueue whose answer was lost: the id comes from elsewhere."""
        job = self.by_key.get((queue, key))
        if job is not None and job.id is None:
            job.id = number
        if job is not None and job.status == "unknown":
            job.status = "committed"
        return job

    # ---- leases

    def _collect_leases(self):
        for operation in self.operations:
            if operation.op != "claim" or not operation.jobs:
                continue
            lease = Lease(operation.token, operation, self.status_of(operation))
            if operation.token in self.leases:
                self.problems.append(("R5", f"token {operation.token} was granted twice, last by {operation.name}"))
            self.leases[operation.token] = lease
            if operation.queue not in operation.asked:
                self.problems.append(("R2", f"{operation.name} delivered jobs of {operation.queue}, not of {operation.asked}"))
            for number, attempt, key, checksum in operation.jobs:
                job = self._name(operation.queue, number, key)
                if job is None:
                    self.strangers.append((operation, number, key))
                    continue
                delivery = Delivery(job, lease, attempt, checksum, key)
                job.deliveries.append(delivery)
                self.by_id[operation.token, number] = delivery
        for operation in self.operations:
            if operation.op == "extend" and not operation.refused and operation.token in self.leases:
                self.leases[operation.token].extensions.append(operation)

    def _collect_orders(self):
        """Who cancels or redrives a job has no token of it."""
        named = {}
        for job in sorted(self.jobs, key=lambda job: job.status == "committed"):
            named.setdefault((job.queue, job.id), []).append(job)
        for operation in self.operations:
            if operation.op not in ORDERS:
                continue
            # Its id was given to another one before if that was taken away.
            there = [job for job in named.get((operation.queue, operation.ids[0]), [])
                     if job.operation.t_invoke < operation.t_return]
            if not there:
                continue
            job = there[-1]
            job.asked.append(operation)
            end = self._end_of(operation)
            if operation.count and end.gone is not None:
                (job.cancels if operation.op == "cancel" else job.revivals).append(end)

        last = {name: jobs[-1] for name, jobs in named.items()}
        for queue, rows in self.final["jobs"].items():
            for number, *_, successor in (row for row in rows if len(row) > 4):
                self._replace(queue, last.get((queue, number)), last.get((queue, successor)), successor)

    def _replace(self, queue, job, successor, number):
        """Another enqueue has cancelled the job, and taken its place."""
        if job is None or successor in (None, job) or successor.operation.unique != job.operation.unique:
            self.problems.append(("R2", f"{queue}/{number} is said to have replaced {job and job.name}"))
            return
        end = self._end_of(successor.operation)
        end.kind = "cancel"
        job.cancels.append(end)

    def _collect_ends(self):
        for operation in self.operations:
            if operation.op in ENDS and not operation.refused:
                self._end(operation, self._end_of(operation))

    def _end_of(self, operation):
        taken_away = None
        if operation.op in AT_ONCE:
            known = operation.outcome == "ok"
            status, begin = "committed" if known else "unknown", operation.t_invoke
            end = operation.t_return if known else FOREVER
        else:
            transaction = self.transaction_of(operation)
            status, begin, end = self.status_of(operation), transaction.begin, transaction.end
            taken_away = transaction.lost_at if operation.undone is None and operation.outcome == "ok" else None
        gone = FOREVER if status != "aborted" else taken_away
        return End(operation.op, operation, status, begin, end, operation.dead, gone)

    def _end(self, operation, end):
        for number in operation.ids:
            delivery = self.by_id.get((operation.token, number))
            if delivery is not None:
                own = self._of_the_rest(end, delivery.job) if operation.whole else end
                delivery.ends.append(own)
                delivery.job.ends.append(own)
            elif end.status == "committed":
                self.problems.append(("R6", f"{operation.name} ended job {operation.queue}/{number},"
                                            f" which token {operation.token} never held"))

    @staticmethod
    def _of_the_rest(end, job):
        """A lease that is given back as a whole: perhaps without the job, which was cancelled."""
        known = end.end < min((cancel.begin for cancel in job.cancels), default=FOREVER)
        return end if known else replace(end, status="unknown")

    def _bound(self, lease):
        """Deadlines, as early and as late as they can be, and what else may have ended the whole lease."""
        claim = lease.operation
        low, high = claim.t_invoke + claim.lease, claim.t_return + claim.lease
        for extension in lease.extensions:
            if extension.outcome == "ok":
                low = extension.t_invoke + extension.lease
            else:
                low = min(low, extension.t_invoke + extension.lease)
            high = max(high, extension.t_return + extension.lease)
        if any(end.status != "committed" and end.kind != "release" for end in self._ends_of(lease)):
            high = FOREVER  # an abort gives the holder more time
        # Not from t_return on: that is when the client read the answer, perhaps long after.
        lease.deadline_high = high
        lease.causes.append((low, "expiry"))
        if hard := self.final["queues"][claim.queue].get("hard_time_limit"):
            lease.causes.append((claim.t_invoke + hard, "limit"))
        if claim.undone is not None:
            lease.causes.append((claim.undone, "rollback"))
        elif lease.status != "committed":
            lease.causes.append((self.transaction_of(claim).aborted_from, "rollback"))
        if claim.hold == "session":
            lease.causes.append((self._session_end(claim), "session"))
        for stop in self.stops:
            if stop.end > claim.t_invoke and not self._survives(claim, stop):
                lease.causes.append((stop.begin, stop.kind))

    def _survives(self, claim, stop):
        """A lease was on disk when its claim returned, and on that of a standby in time."""
        return (self.final["queues"][claim.queue].get("durable") and not stop.moved
                and (stop.lossy_since is None or claim.t_return < stop.lossy_since))

    def _ends_of(self, lease):
        for number, *_ in lease.operation.jobs:
            delivery = self.by_id.get((lease.token, number))
            if delivery is not None:
                yield from delivery.ends

    def _session_end(self, claim):
        if not hasattr(self, "_last_seen"):
            self._last_seen = {}
            for operation in self.operations:
                name = operation.client, operation.session
                if operation.outcome == "ok" and operation.op != "disconnect":
                    self._last_seen[name] = max(self._last_seen.get(name, 0), operation.t_invoke)
        return self._last_seen[claim.client, claim.session]
