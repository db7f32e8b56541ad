"""What consumers tell of the jobs that they hold, and what they hear: progress, extend, and what others see of it."""
import re
import time

from scenario import QUEUES

NOTICES = {"01OQ1": "soft", "01OQ2": "cancelled"}


def numbers(detail):
    """Of a list as "17, 20-22"."""
    spans = [span.split("-") for span in re.findall(r"\d+(?:-\d+)?", detail)]
    return [number for span in spans for number in range(int(span[0]), int(span[-1]) + 1)]


class Reporting:
    """Styles of a consumer."""

    def extend(self, held, span):
        def told(_):
            return {NOTICES[sqlstate]: numbers(detail) for sqlstate, detail in self.connection.notices if sqlstate in NOTICES}
        return self.call("extend", f"SELECT onceq.extend({held.token}, '{span} s')", told, token=held.token, lease=span,
                         **self.auto())

    def progress(self, held, number, **where):
        value = self.rng.randrange(2**31)

        def told(rows):
            reason = {"soft_time_limit": "soft", "cancelled": "cancelled", None: None}[rows[0][0]]
            return {reason: [number]} if reason else {}
        return self.call("progress", f"SELECT onceq.progress({held.token}, {number}, {value})", told, queue=held.queue.name,
                         token=held.token, ids=[number], value=value, **(where or self.auto()))

    def watch(self, held, number):
        return self.call("watch", f"SELECT max(progress_current) FROM onceq.job('{held.queue.name}', {number})",
                         lambda rows: {"value": rows[0][0] and int(rows[0][0])}, queue=held.queue.name, ids=[number],
                         **self.auto())

    def reporting(self, queue):
        """Until it is time to stop, or the work is done. Somebody may cancel some of it."""
        queue = QUEUES["hard"] if self.rng.random() < 0.4 else queue
        held = self.claim(queue, self.rng.choice((1, 3, 20)))
        if held is None:
            return
        self.left.append(held)
        some = self.rng.sample(held.ids, min(len(held.ids), 3))
        told = {}
        for _ in range(self.rng.randrange(2, 8)):
            time.sleep(self.rng.uniform(0.005, 0.1))
            told = self.report(held, self.rng.choice(some))
            if self.rng.random() < 0.1 and queue.retained:
                self.cancel_beside(queue, self.rng.choice(some))
        if told.get("soft") and self.rng.random() < 0.5:
            self.release(held)
        self.end_last()
        if self.rng.random() < 0.3:
            self.report(held, self.rng.choice(some))  # it is not his any more

    def regained(self, queue):
        """Given back and claimed again: the old token is none, also where the new one takes its place."""
        held = self.claim(queue, 5)
        if held is None:
            return
        self.release(held)
        again = self.claim(queue, 5)
        if again is not None:
            self.left.append(again)
            self.report(held, self.rng.choice(again.ids))

    def report(self, held, number):
        kind = self.rng.random()
        if kind < 0.3:
            return self.extend(held, held.queue.lease)
        if kind < 0.5:
            return self.watch(held, number)
        if kind < 0.9:
            return self.progress(held, number)
        tx = self.begin()
        told = self.progress(held, number, tx=tx)
        self.rollback(tx)  # it stays
        return told

    def cancel_beside(self, queue, number):
        other = self.another_session()
        try:
            tx = self.begin(**other)
            self.cancel(queue.name, number, tx, **other)
            self.commit(tx, **other)
        finally:
            other["connection"].close()
