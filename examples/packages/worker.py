#!/usr/bin/python3
"""Inspects packages: are all their files there, and as they were delivered?

    worker.py NAME

Jobs are claimed a few at a time. Each result is stored in the transaction that acks its job, so there is
exactly one, whatever is killed and whenever. SIGTERM ends the worker after the job at hand. Where to
connect is told by libpq's variables: PGHOST, PGUSER and so on.
"""
import hashlib
import os
import signal
import stat
import sys
import time

import psycopg

INFO = "/var/lib/dpkg/info"
LEASE_LOST = "OQ001"
asked_to_stop = False


# ---- the work


def read_lines(package, architecture, suffix):
    """A file that dpkg keeps of a package; nothing if it keeps none."""
    for name in (f"{package}:{architecture}", package):
        try:
            with open(f"{INFO}/{name}.{suffix}", encoding="utf-8", errors="replace") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            pass
    return []


def is_changed(path, checksum):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest() != checksum
    except (FileNotFoundError, PermissionError):
        return False  # missing files are counted elsewhere; what we may not read, we cannot judge


def inspect(package, architecture):
    """(files, bytes, missing, changed) of a package."""
    files, size, missing = 0, 0, []
    for path in read_lines(package, architecture, "list"):
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(path)
            continue
        if stat.S_ISREG(status.st_mode):
            files += 1
            size += status.st_size
    sums = (line.split(maxsplit=1) for line in read_lines(package, architecture, "md5sums"))
    changed = ["/" + path for checksum, path in sums if is_changed("/" + path, checksum)]
    return files, size, missing, changed


# ---- the loop around it


def do_job(connection, worker, job, token, attempt, payload):
    connection.execute("SELECT onceq.extend(%s)", [token])  # the jobs before this one took their time
    try:
        result = inspect(**payload)
    except Exception as error:  # this job's trouble, not the worker's: try again later
        connection.execute("SELECT onceq.nack(%s, %s, error => %s)", (token, job, repr(error)))
        return
    with connection.transaction():  # the effect and the ack: both or neither
        connection.execute("INSERT INTO inspection VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                           (job, attempt, worker, payload["package"], *result))
        connection.execute("SELECT onceq.ack(%s, %s)", (token, job))


def work(connection, worker):
    while not asked_to_stop:
        jobs = connection.execute("SELECT id, token, attempt, payload FROM"
                                  " onceq.claim('inspections', count => 8, worker => %s)", [worker]).fetchall()
        print("claimed", *(f"{job}:{attempt}" for job, _, attempt, _ in jobs), flush=True)
        if not jobs:
            time.sleep(0.2)
        try:
            for job, token, attempt, payload in jobs:
                if asked_to_stop:
                    connection.execute("SELECT onceq.release(%s)", [token])  # the rest of the lease
                    break
                do_job(connection, worker, job, token, attempt, payload)
        except psycopg.Error as error:
            if error.sqlstate != LEASE_LOST:
                raise
            print("lost the lease:", error, flush=True)  # the jobs left come again, here or elsewhere


def stop(*_):
    global asked_to_stop
    asked_to_stop = True


def main():
    signal.signal(signal.SIGTERM, stop)
    while not asked_to_stop:
        try:
            with psycopg.connect(autocommit=True) as connection:
                work(connection, sys.argv[1])
        except psycopg.OperationalError as error:
            # If the server was lost during a COMMIT, nobody knows whether that job is done. Nor needs to:
            # it is, or it comes again.
            print("lost the server:", str(error).splitlines()[0], flush=True)
            time.sleep(0.2)


main()
