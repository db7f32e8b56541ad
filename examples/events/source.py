"""A source of events that delivers at least once, as Kafka does: partitions that are read by offset.

The events follow from their place, so that a test knows what is in them. A real source is a topic; what
matters here is how it behaves: it sends again what was not committed, and may go back.
"""
import random

TOPIC = "payments"
PARTITIONS = 4
EVENTS = 250  # of each partition
ACCOUNTS = 20


def event_at(partition, offset):
    """The event at a place; its id is that place, which never changes."""
    chance = random.Random(partition * EVENTS + offset)
    return {
        "id": f"{TOPIC}/{partition}/{offset}",
        "account": f"account-{chance.randrange(ACCOUNTS)}",
        "amount": chance.randrange(1, 1000),
    }


def all_events():
    return (event_at(partition, offset) for partition in range(PARTITIONS) for offset in range(EVENTS))


class Source:
    """What a consumer holds of it. commit() is not in anybody's transaction: it may be lost, or come late."""

    def __init__(self, read_offset, write_offset):
        self.read_offset, self.write_offset = read_offset, write_offset

    def poll(self, partition, count):
        """The next events of a partition from the last committed offset, and the offset after them."""
        start = self.read_offset(partition)
        end = min(start + count, EVENTS)
        return [event_at(partition, offset) for offset in range(start, end)], end

    def commit(self, partition, offset):
        self.write_offset(partition, offset)

    def rewind(self, partition, by):
        """As after a rebalance, or when somebody sets the offset back."""
        self.write_offset(partition, max(self.read_offset(partition) - by, 0))
