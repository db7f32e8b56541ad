"""What consumers do with two sessions of their own, so that they are in each other's way."""
from server import Failed


class Rivals:
    """Styles of a consumer."""

    def rivals(self, queue):
        """Two sessions ack the same lease; at most one may succeed. Who fails keeps another lease."""
        held = self.claim(queue, 10)
        if held is None:
            return
        kept = self.claim(self.pick_queue(lambda queue: queue.consume), 5)
        other = self.another_session()
        mine = None
        try:
            mine = self.begin()
            for one in [kept, held] if kept else [held]:
                self.ack(one, mine)
            theirs = self.begin(**other)
            self.ack(held, theirs, by="ids", **other)
            first, second = self.rng.sample([(mine, {}), (theirs, other)], 2)
            self.commit(first[0], **first[1])
            self.commit(second[0], **second[1])
        except Failed:
            self.end_of(mine)
            if kept and self.rng.random() < 0.5:
                self.whole_of(kept, by="ids")
        finally:
            other["connection"].close()

    def revoked(self, queue):
        """Jobs are cancelled while they are held, mostly by another session."""
        held = self.claim(queue, 10)
        if held is None or not queue.retained:
            return
        gone = self.rng.sample(held.ids, min(len(held.ids), self.rng.choice((1, 1, 3))))
        other = self.another_session() if self.rng.random() < 0.7 else {}
        try:
            tx = self.begin(**other)
            for number in gone:
                self.cancel(queue.name, number, tx, **other)
            if other and self.rng.random() < 0.3:
                self.whole_of(held, by="ids")  # at most one of the two will commit
            self.commit(tx, **other)
        finally:
            if other:
                other["connection"].close()
        self.whole_of(held.part([number for number in held.ids if number not in gone]), by="ids")

    def refused(self, queue):
        """Two serializable transactions count what the other one adds: the second fails at the very end of its COMMIT."""
        held = self.claim(queue)
        if held is None:
            return
        other = self.another_session()
        mine = None
        try:
            mine = self.begin("serializable")
            theirs = self.begin("serializable", **other)
            self.ack(held, mine)
            for tx, where in (mine, {}), (theirs, other):
                self.call("add", "SELECT count(*) FROM chaos.added; INSERT INTO chaos.added VALUES (1)", tx=tx, **where)
            self.commit(theirs, **other)
            self.commit(mine)
            return
        except Failed:
            self.end_of(mine)
        finally:
            other["connection"].close()
        self.whole_of(held, by="ids")

    def end_of(self, tx):
        """Of a transaction that has failed, unless it was its COMMIT that did."""
        if tx and self.connection.pgconn.transaction_status:
            self.rollback(tx)
