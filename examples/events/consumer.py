#!/usr/bin/python3
"""Counts each event once, although its source sends events again.

    consumer.py NAME [--batch N] [--crash] [--rewind]

Reads all partitions, from the offsets that were committed, until nothing is left. Several may run at once; then they
get the same events, as two consumers do in the moments of a rebalance. With --crash the process now and then dies
between the effect and the commit of the offset, or before its transaction commits; start it again. With
--rewind it sets the source back now and then. Where to connect is told by libpq's variables: PGHOST and so on.
"""
import argparse
import os
import random

import psycopg

from source import EVENTS, PARTITIONS, Source, TOPIC


def read_offset(connection):
    def read(partition):
        row = connection.execute("SELECT next_offset FROM source_offset WHERE partition = %s", [partition]).fetchone()
        return row[0] if row else 0
    return read


def write_offset(connection):
    def write(partition, offset):
        connection.execute("""INSERT INTO source_offset VALUES (%s, %s)
                           ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset""", (partition, offset))
    return write


def take_effect(connection, event):
    connection.execute("""INSERT INTO account VALUES (%s, %s, 1) ON CONFLICT (name) DO UPDATE
                       SET balance = account.balance + excluded.balance, payments = account.payments + 1""",
                       (event["account"], event["amount"]))


def process(connection, events, may_crash):
    """The effects of those events that are new, and that they are processed: in one transaction."""
    with connection.transaction():
        is_new, = connection.execute("SELECT onceq.once_many('payments', %s, topic => %s)",
                                     ([event["id"] for event in events], TOPIC)).fetchone()
        new = [event for event, flag in zip(events, is_new) if flag]
        # In the order of their names: so that two consumers do not wait for each other's accounts in a ring.
        for event in sorted(new, key=lambda event: event["account"]):
            take_effect(connection, event)
        may_crash(0.02)  # nothing of it has happened
    return len(new)


def consume(connection, options):
    def may_crash(chance):
        if options.crash and random.random() < chance:
            os._exit(3)  # no rollback, no good-bye

    source = Source(read_offset(connection), write_offset(connection))
    new = seen = 0
    for partition in random.sample(range(PARTITIONS), PARTITIONS):
        while True:
            events, offset = source.poll(partition, options.batch)
            if not events:
                break
            new += process(connection, events, may_crash)
            seen += len(events)
            may_crash(0.02)  # it has happened, and the source does not know
            source.commit(partition, offset)
            if options.rewind and random.random() < 0.05:
                source.rewind(partition, random.randrange(EVENTS // 4))
    print(f"{options.name}: {new} of {seen} events were new", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--crash", action="store_true")
    parser.add_argument("--rewind", action="store_true")
    options = parser.parse_args()
    with psycopg.connect(autocommit=True, application_name=options.name) as connection:
        consume(connection, options)


main()
