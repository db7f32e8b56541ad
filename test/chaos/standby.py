"""A primary and its streaming standby, which look like one server; fail over as often as you like."""
import shutil
import time

from server import START_PATIENCE, Connection, Lost, Server


class Pair:
    """synchronous: a commit returns when the standby has it too, as long as there is one."""

    def __init__(self, bin_folder, conf, folder, port, synchronous):
        self.servers = [Server(bin_folder, conf, folder / name, port) for name in ("a", "b")]
        self.folder, self.synchronous = folder, synchronous
        self.watch = None    # a connection
        self.safe_until = 0  # what was committed before that, in monotonic time, the standby has

    @property
    def primary(self):
        return self.servers[0]

    @property
    def standby(self):
        return self.servers[1]

    def __getattr__(self, name):  # all else is the primary's business
        return getattr(self.servers[0], name)

    def conninfo(self, **arguments):
        """Clients try both, and take the one that can be written to."""
        one = self.primary.conninfo(**arguments)
        both = ",".join(str(server.folder) for server in sorted(self.servers, key=lambda server: server.folder))
        return one.replace(f"host={self.primary.folder} ", f"host={both} target_session_attrs=read-write ")

    def connect(self, **arguments):
        return Connection(self.conninfo(**arguments))

    def create(self, settings, template):
        self.primary.create({**settings, "wal_level": "replica", "max_wal_senders": 5, "wal_keep_size": "'256MB'",
                             "hot_standby": "on", "wal_retrieve_retry_interval": "'100ms'"}, template)

    def start(self):
        """The primary alone, which then waits for nobody."""
        self.primary.start()
        self.set_synchronous("")

    def start_standby(self):
        """From a base backup of the primary; streaming, and with all of its commits, when it returns."""
        shutil.rmtree(self.standby.data, ignore_errors=True)
        self.standby.folder.mkdir(parents=True, exist_ok=True)
        self.primary.run("pg_basebackup", "-h", self.primary.folder, "-p", self.primary.port, "-U", "postgres",
                         "-D", self.standby.data, "-X", "stream", "-c", "fast", "--no-sync")
        with open(self.standby.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"unix_socket_directories = '{self.standby.folder}'\n")
            file.write(f"primary_conninfo = 'host={self.primary.folder} port={self.primary.port} user=postgres'\n")
        (self.standby.data / "standby.signal").touch()
        self.standby.start()
        self.wait_for_standby()
        if self.synchronous:
            self.set_synchronous("*")

    def set_synchronous(self, names):
        connection = self.primary.connect_when_up()
        connection.query(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        connection.query("SELECT pg_reload_conf()")
        while names and not connection.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
            time.sleep(0.01)
        connection.close()

    def wait_for_standby(self, patience=180):
        """Until the standby has what is committed now; note_progress() without hurry."""
        deadline = time.monotonic() + patience
        while not self.note_progress(0.2):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the standby does not follow:\n{self.standby.tail()}")

    def note_progress(self, patience=0.02):
        """Learns up to when the standby has all commits, should it be quick enough to say so."""
        try:
            if self.watch is None:
                self.watch = self.primary.connect()
            now = time.monotonic()
            position = self.watch.value("SELECT pg_current_wal_lsn()")
            while time.monotonic() < now + patience:
                if self.watch.query(f"SELECT 1 FROM pg_stat_replication WHERE flush_lsn >= '{position}'"):
                    self.safe_until = now
                    return True
                time.sleep(0.002)
        except Lost:
            self.leave()
        return False

    def leave(self):
        if self.watch is not None:
            self.watch.close()
            self.watch = None

    def fail_over(self):
        """The primary is gone for ever, all of a sudden; the standby takes over."""
        self.leave()
        self.primary.stop("immediate")
        self.servers.reverse()
        self.primary.run("pg_ctl", "-s", "-w", "-t", START_PATIENCE, "-D", self.primary.data, "promote")
        self.set_synchronous("")

    def stop(self, mode="fast", patience=30):
        self.leave()
        running = [server for server in reversed(self.servers) if (server.data / "postmaster.pid").exists()]
        return all([server.stop(mode, patience) for server in running])

    def logs(self):
        return [server.log for server in self.servers]

    def log_lines(self, offset_to_monotonic):
        for server in self.servers:
            yield from server.log_lines(offset_to_monotonic)
