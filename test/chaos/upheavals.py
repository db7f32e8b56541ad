"""Faults that take more than a signal: disks that run full, a clock that is set, databases that are moved, made and dropped."""
import os
import re
import subprocess
import time

from clients import now
from server import START_PATIENCE, Failed, Lost

NO_ROOM = re.compile("No space left|Check free disk space")
# What a script beside the run may meet when the server has a fault of another kind, or is small.
MEANWHILE = re.compile("terminating connection|server closed|connection to server|database system is|fault at|out of memory at"
                       "|No space left|being accessed by other users|due to user request|not currently accepting"
                       "|states of jobs is used up|too many leases")
USE = """
CREATE EXTENSION onceq;
SELECT onceq.create_queue('plain');
SELECT count(id) FROM onceq.enqueue_many('plain', array_fill('{}'::jsonb, ARRAY[100])) id;
SELECT onceq.ack(min(token)) FROM onceq.claim('plain', 60);
"""
BESIDE = rf"""
DROP DATABASE IF EXISTS beside WITH (FORCE);
DROP DATABASE IF EXISTS renamed WITH (FORCE);
CREATE DATABASE beside;
\connect beside
{USE}
DROP EXTENSION onceq CASCADE;
{USE}
\connect template1
ALTER DATABASE beside RENAME TO renamed;
\connect renamed
DO $$ BEGIN
    ASSERT (SELECT count(*) FROM onceq.claim('plain', 100)) = 40, 'jobs were lost';
END $$;
\connect template1
DROP DATABASE renamed WITH (FORCE);
"""


class Upheavals:
    """What the nemesis can do beside nemesis.py. Notes, rests, connections and the herd are there."""

    # ---- full disks

    def full_disk(self, which):
        """No room for tables, or for WAL; then there is room again, and who gave up is started."""
        if not self.server.disks:
            return
        begin, offset = now(), self.server.log_size()
        ballast = self.server.disks / which / "ballast"
        fill(ballast)
        met, deadline = False, now() + 3
        while not met and now() < deadline:
            if which == "wal":  # so that the next segment is needed soon
                self.attempt("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")
            self.rest(0.02)
            met = NO_ROOM.search(self.server.log_since(offset))
        self.rest(self.rng.uniform(0.3, 1))
        ballast.unlink()
        self.leave()
        crashed = self.revive(offset)
        self.note(f"full {which} disk" if met else "full disk that nobody met", begin, t_return=now(), full=True,
                  calm_after=7, **({"stops": "crash"} if crashed else {}))

    def attempt(self, sql):
        try:
            connection = self.server.connect()
            try:
                connection.query(sql)
            finally:
                connection.close()
        except (Failed, Lost):
            pass

    def revive(self, offset):
        """Until the server is well, by itself or because it is started. Returns whether it has been down since."""
        deadline = now() + START_PATIENCE
        while True:
            said = self.server.log_since(offset)
            fell = max(map(said.rfind, ("PANIC:", "was terminated by", "shutting down")))
            if not self.server.is_running():
                self.server.start()
            elif fell <= said.rfind("is ready to accept"):
                self.server.connect_when_up().close()
                return fell >= 0
            if now() > deadline:
                raise RuntimeError(f"the server does not recover:\n{self.server.tail()}")
            time.sleep(0.05)
            self.herd.tend()

    # ---- the clock

    def step_clock(self, seconds):
        """Never below 0: what is due by the clock is due then by the history's, or was before."""
        begin, before = now(), self.clock
        self.clock = before + (seconds if before + seconds >= 0 else -seconds)
        self.server.configure(clock_offset=self.clock)
        while self.asked_anew("SELECT setting FROM pg_settings WHERE name = 'onceq.clock_offset'") != str(self.clock):
            self.rest(0.01)
        self.note("clock set", begin, t_return=now(), clock=[before, self.clock], calm_after=2)

    def asked_anew(self, sql):
        connection = self.server.connect_when_up()
        try:
            return connection.value(sql)
        except Lost:
            return None
        finally:
            connection.close()

    # ---- dump and restore

    def restore_beside(self):
        """While clients go on, their database is dumped and restored as another; then they have to go on there."""
        since = self.dump_all()
        self.steadily("DROP DATABASE IF EXISTS copy")
        self.steadily(f"CREATE DATABASE copy TEMPLATE template0 {self.server.tablespace}")
        self.server.tool("pg_restore", "-e", "-d", "copy", self.server.dump)
        begin = now()
        self.leave()
        self.steadily("ALTER DATABASE postgres WITH ALLOW_CONNECTIONS false")
        self.steadily("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'")
        self.steadily("ALTER DATABASE postgres RENAME TO original")
        self.steadily("ALTER DATABASE copy RENAME TO postgres")
        self.rest(0.2)  # clients see that it is not theirs yet
        self.adopt()
        self.note("dump", since, t_return=begin)
        self.note("restore into a database", begin, t_return=now(), stops="crash", lossy_since=since, moved=True,
                  calm_after=3)
        self.steadily("DROP DATABASE original")

    def restore_elsewhere(self):
        """Without clients, the database is dumped and restored in a new server. Nothing of it may be lost."""
        begin = now()
        self.leave()
        self.steadily("ALTER ROLE chaos NOLOGIN")
        self.server.stop("fast")  # who is about to come in has no chance, either
        self.server.start()
        roles = self.server.folder / "roles"
        self.server.tool("pg_dumpall", "-g", "-f", roles)
        self.dump_all()
        self.server.replace()
        self.server.start()
        self.server.tool("psql", "-q", "-f", roles, "postgres")  # some are there already
        self.server.tool("pg_restore", "-e", "-d", "postgres", self.server.dump)
        self.adopt()
        self.steadily("ALTER ROLE chaos LOGIN")
        self.note("restore into a server", begin, t_return=now(), stops="restart", moved=True, calm_after=3)

    def adopt(self):
        self.steadily("SELECT onceq.adopt()", "postgres")
        self.steadily("SELECT onceq.alter_queue('short', retention => '0')", "postgres")

    def dump_all(self):
        """When the dump began, at the earliest. A table may be dropped before it is locked: then again, and when a
        slow machine makes that the rule, while none is dropped. The copy is dumped with that, so adopt() ends it."""
        for attempt in range(20):
            if attempt == 5:
                self.steadily("SELECT onceq.alter_queue('short', retention => '1 h')", "postgres")
            begin = now()
            if self.server.tool("pg_dump", "-Fc", "-f", self.server.dump, "postgres", check=False) == 0:
                return begin
        raise RuntimeError("pg_dump fails each time")

    def steadily(self, sql, database="template1", patience=START_PATIENCE):
        """Until it works: the worker may be there, and has to leave."""
        deadline = now() + patience
        while True:
            try:
                connection = self.server.connect_when_up(database=database)
                try:
                    return connection.query(sql)
                finally:
                    connection.close()
            except (Failed, Lost):
                if now() > deadline:
                    raise
            time.sleep(0.05)

    # ---- other databases

    def other_database(self):
        """Made, used, renamed and dropped beside the run, with the extension made and dropped in it."""
        begin, script = now(), self.server.folder / "beside.sql"
        script.write_text(BESIDE)
        process = subprocess.Popen(
            [self.server.bin / "psql", *self.server.address, "-qAtX", "-v", "ON_ERROR_STOP=1", "-f", script, "template1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def look():
            if process.poll() is None and now() < begin + 30:
                time.sleep(0.01)
                self.at(0.1, look)
                return
            process.kill()
            said = process.stderr.read()
            process.wait()
            good = process.returncode == 0
            if not good and not MEANWHILE.search(said):
                self.herd.problems.append(f"beside the run: {said or 'psql hangs'}")
            self.note("database beside the run" if good else "database beside the run, cut short", begin,
                      t_return=now(), calm_after=0.5)
        self.at(0.1, look)


def fill(ballast):
    with open(ballast, "wb") as file:
        size = 0
        for step in (1 << 24, 1 << 20, 1 << 16, 1 << 12):
            try:
                while True:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
            except OSError:  # less, then
                pass
