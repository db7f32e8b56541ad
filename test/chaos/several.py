"""What consumers do with several queues at once: one claim takes from any of them, in order or by weights."""
from scenario import QUEUES


class Several:
    """Styles of a consumer."""

    def claim_any(self, names, wait=0, **where):
        count = self.rng.choice((1, 5, 30, 200))
        weights = [self.rng.choice((1, 1, 10)) for _ in names] if self.rng.random() < 0.4 else []
        lease = self.rng.choice((0, 0.4, 1))  # 0: that of the queue it will be
        fields = {"queues": names, "weights": weights, "count": count, "wait": wait,
                  "hold": "session" if self.rng.random() < 0.1 else "time", **(where or self.auto())}

        def parse(rows):
            *claimed, first, last = rows[0]
            if first != last:
                raise AssertionError(f"jobs of two queues in one claim: {first}, {last}")
            return {**self.claimed([claimed]), "queue": first, "lease": lease or first and QUEUES[first].lease or 0}
        sql = self.claim_any_sql(names, weights, lease, fields)
        if self.rng.random() < 0.01 and not where:
            self.vanish("claim", sql, **fields)
        result = self.call("claim", sql, parse, **fields)
        return self.hold(QUEUES.get(result["queue"]), result)

    def claim_any_sql(self, names, weights, lease, fields):
        shares, span = f"ARRAY{weights}" if weights else "NULL", f"'{lease} s'" if lease else "NULL"
        source = (f"onceq.claim_any(ARRAY{names}, {shares}, {fields['count']}, {span}, '{fields['wait']} s',"
                  f" '{self.name}', '{fields['hold']}')")
        return self.columns(source, ", min(queue), max(queue)")

    def several(self, _):
        """In two transactions or one; whoever has no time for the jobs leaves them to others."""
        names = self.rng.sample(sorted(QUEUES), self.rng.choice((2, 3, 3, 6)))
        tx = self.begin(settings=self.impatience()) if self.rng.random() < 0.3 else None
        if tx is not None:
            held = self.claim_any(names, tx=tx)
            if held and self.rng.random() < 0.9:
                self.ack(held, tx)
            self.linger()
            (self.commit if self.rng.random() < 0.85 else self.rollback)(tx)
            return
        held = self.claim_any(names, self.rng.choice((0, 0, 0.3, 3)))
        if held and self.rng.random() < 0.1:
            self.release(held)
        elif held and self.rng.random() < 0.95:
            self.left.append(held)
            self.end_last()
