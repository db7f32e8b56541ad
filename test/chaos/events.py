"""What consumers do with events of the ledger: each is marked, and takes effect, in one transaction."""
from clients import LOAD

EVENTS = 400  # that come again and again


class Events:
    """Styles of a consumer."""

    def some_events(self):
        return [f"e{self.rng.randrange(EVENTS)}" for _ in range(self.rng.choice((1, 1, 1, 5, 20)))]

    def process(self, _):
        """Events, some of them for the second time; sometimes undone, and marked anew."""
        tx = self.begin(sync=self.rng.random() < 0.8, settings=self.impatience())
        events = self.some_events()
        if self.rng.random() < 0.2:
            since = self.n + 1
            self.call("savepoint", "SAVEPOINT one", tx=tx)
            self.once(events, tx)
            self.call("undo", "ROLLBACK TO SAVEPOINT one", tx=tx, since=since)
        self.once(events, tx)
        self.linger()
        (self.rollback if self.phase == LOAD and self.rng.random() < 0.15 else self.commit)(tx)

    def once(self, events, tx):
        """Marks and effects by one statement."""
        source = (f"unnest(onceq.once_many('billing', ARRAY{events}))" if len(events) > 1 else
                  f"onceq.once('billing', '{events[0]}')")
        self.call("once", self.effects_of_events(f"unnest(ARRAY{events}, ARRAY(SELECT {source}))", tx), self.which,
                  tx=tx, consumer="billing", events=events)

    def process_and_ack(self, queue):
        """Jobs that bring an event each; the ack tells whether it is new."""
        held = self.claim(queue, 3)
        if held is None:
            return
        tx = self.begin(settings=self.impatience())
        events = sorted(f"e{self.rng.randrange(EVENTS)}" for _ in held.ids)  # so that nobody waits in a circle
        for number, event in zip(held.ids, events):
            effect = self.effects_of_events(
                f"(SELECT '{event}', onceq.ack_once({held.token}, {number}, 'billing', '{event}'))", tx)
            self.call("ack", f"{self.effects_sql(held.part([number]), tx)} {effect}",
                      lambda rows: {**self.which(rows), "count": 1}, tx=tx, queue=queue.name, token=held.token,
                      ids=[number], effects=True, consumer="billing", events=[event])
        self.linger()
        (self.commit if self.rng.random() < 0.9 else self.rollback)(tx)

    def effects_of_events(self, source, tx):
        """An effect for each of them that is new; the statement says which are."""
        return (f"WITH asked AS MATERIALIZED (SELECT * FROM {source} asked (event, is_new)),"
                f" done AS (INSERT INTO chaos.processed SELECT 'billing', event, '{self.name}', {tx} FROM asked WHERE is_new)"
                " SELECT string_agg(left(is_new::text, 1), '') FROM asked")

    @staticmethod
    def which(rows):
        return {"new": [letter == "t" for letter in rows[0][0]]}
