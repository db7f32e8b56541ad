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
from psycopg.rows import namedtuple_row

INFO = "/var/lib/dpkg/info"
LARGE = 256 * 1024
LEASE_LOST = "OQ001"
asked_to_stop = False


# ---- the work


def read_lines(package, architecture, suffix):
    """A file that dpkg keeps of a package; nothing if it keeps none."""
    for name in (f"{package}:{architecture}", package):
        try:
            with open(f"{INFO}/{name}.{suffix}", encoding="utf-8", errors="surrogateescape") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            pass
    return []


def is_changed(path, checksum):
    with open(path, "rb") as file:
        return hashlib.md5(file.read()).hexdigest() != checksum


def inspect(package, architecture, heartbeat):
    """(files, bytes, missing, changed); the contents of large files are taken on trust."""
    checksums = {}
    for line in read_lines(package, architecture, "md5sums"):
        checksum, path = line.split(maxsplit=1)
        checksums["/" + path] = checksum
    files = size = missing = changed = 0
    for path in read_lines(package, architecture, "list"):
        heartbeat()
        try:
            status = os.lstat(path)
        except PermissionError:
            continue  # neither there nor missing, for all we know
        except (FileNotFoundError, NotADirectoryError):
            missing += 1
            continue
        if stat.S_ISREG(status.st_mode):
            files += 1
            size += status.st_size
            if path in checksums and status.st_size <= LARGE and os.access(path, os.R_OK):
                changed += is_changed(path, checksums[path])
    return files, size, missing, changed


# ---- the loop around it


def heartbeat_of(connection, token):
    """To be called often: asks for more time once a second. Raises OQ001 if the lease is lost already."""
    def heartbeat():
        nonlocal last
        if time.monotonic() > last + 1:
            connection.execute("SELECT onceq.extend(%s)", [token])
            last = time.monotonic()

    last = time.monotonic()
    return heartbeat


def do_job(connection, worker, job, heartbeat):
    try:
        result = inspect(**job.payload, heartbeat=heartbeat)
    except OSError as error:  # this job's trouble, not the worker's: try again later
        connection.execute("SELECT onceq.nack(%s, %s, error => %s)", (job.token, job.id, str(error)))
        return
    with connection.transaction():  # the effect and the ack: both or neither
        connection.execute("INSERT INTO inspection VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                           (job.id, job.attempt, worker, job.payload["package"], *result))
        connection.execute("SELECT onceq.ack(%s, %s)", (job.token, job.id))


def do_jobs(connection, worker, jobs):
    heartbeat = heartbeat_of(connection, jobs[0].token)  # one claim, one lease
    for job in jobs:
        if asked_to_stop:
            connection.execute("SELECT onceq.release(%s)", [job.token])  # the rest of the lease
            return
        do_job(connection, worker, job, heartbeat)


def work(connection, worker):
    while not asked_to_stop:
        jobs = connection.execute(
            "SELECT * FROM onceq.claim('inspections', count => 8, wait => '1 s', worker => %s)", [worker]).fetchall()
        if not jobs:
            continue
        print("claimed", *(f"{job.id}:{job.attempt}" for job in jobs), flush=True)
        try:
            do_jobs(connection, worker, jobs)
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
            with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
                work(connection, sys.argv[1])
        except psycopg.OperationalError as error:
            # If the server was lost during a COMMIT, nobody knows whether that job is done. Nor needs to:
            # it is, or it comes again.
            print("lost the server:", str(error).splitlines()[0], flush=True)
            time.sleep(0.2)


main()
