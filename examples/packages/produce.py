#!/usr/bin/python3
"""Stores every package record of this machine, and in the same transaction a job to inspect the package.

Where to connect is told by libpq's variables: PGHOST, PGUSER and so on.
"""
import psycopg
from psycopg.types.json import Jsonb

STATUS = "/var/lib/dpkg/status"


def records():
    """The paragraphs of dpkg's status file, as dictionaries without the continued lines."""
    with open(STATUS, encoding="utf-8") as status:
        for paragraph in status.read().strip().split("\n\n"):
            lines = (line.partition(": ") for line in paragraph.splitlines() if line[0] != " ")
            yield {field: value for field, _, value in lines}


def main():
    count = 0
    with psycopg.connect(autocommit=True) as connection:
        for record in records():
            name, architecture = record["Package"], record.get("Architecture", "")
            with connection.transaction():  # both or neither
                connection.execute("INSERT INTO package VALUES (%s, %s, %s)",
                                   (name, architecture, record.get("Version", "")))
                connection.execute("SELECT onceq.enqueue('inspections', %s)",
                                   [Jsonb({"package": name, "architecture": architecture})])
            count += 1
    print(f"{count} records stored, {count} jobs enqueued")


main()
