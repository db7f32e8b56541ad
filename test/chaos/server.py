"""A throw-away server, and connections to it by plain libpq: what happens to a statement is what is recorded."""
import calendar
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from psycopg import OperationalError, pq

START_PATIENCE = 180  # s


class Failed(Exception):
    """The server refused the statement, and the connection lives."""

    def __init__(self, sqlstate, message):
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class Lost(Exception):
    """The connection is gone; whether the statement was carried out is not known."""


class Connection:
    def __init__(self, conninfo):
        self.pgconn = pq.PGconn.connect(conninfo.encode())
        if self.pgconn.status != pq.ConnStatus.OK:
            message = self.message()
            self.close()
            raise Lost(message)
        self.pid = self.pgconn.backend_pid
        self.notices = []  # of the last call: (SQLSTATE, detail)
        self.pgconn.notice_handler = self.hear
        self.tag = ""

    def message(self):
        return self.pgconn.error_message.decode(errors="replace").strip()

    def hear(self, result):
        field = pq.DiagnosticField
        self.notices.append((text(result.error_field(field.SQLSTATE)), text(result.error_field(field.MESSAGE_DETAIL))))

    def query(self, sql):
        """The rows of the last statement, as text or None."""
        self.notices.clear()
        try:
            result = self.pgconn.exec_(sql.encode())
        except MemoryError:  # psycopg says so when libpq has no result, as on a connection that is gone
            raise Lost(self.message()) from None
        if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            self.tag = (result.command_status or b"").decode()
            return [[text(result.get_value(row, column)) for column in range(result.nfields)]
                    for row in range(result.ntuples)]
        sqlstate = text(result.error_field(pq.DiagnosticField.SQLSTATE))
        if sqlstate is None or self.pgconn.status != pq.ConnStatus.OK:
            raise Lost(self.message())
        raise Failed(sqlstate, self.message())

    def value(self, sql):
        return self.query(sql)[0][0]

    def send_and_vanish(self, sql):
        """Sends a statement and is gone before the answer, as a client that crashes."""
        try:
            self.pgconn.send_query(sql.encode())
            self.pgconn.flush()
        except OperationalError as error:
            raise Lost(str(error)) from None
        with socket.socket(fileno=os.dup(self.pgconn.socket)) as own:
            own.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self):
        self.pgconn.finish()


def text(value):
    return None if value is None else value.decode()


class Server:
    """bin, conf: as scripts/server.sh stages them. Must not run as root."""

    synchronous = False

    def __init__(self, bin_folder, conf, folder, port=5432):
        self.bin, self.conf, self.folder, self.port = Path(bin_folder), Path(conf), Path(folder), port
        self.data, self.log, self.dump = self.folder / "data", self.folder / "log", self.folder / "dump"
        self.address = "-h", str(self.folder), "-p", str(self.port), "-U", "postgres"
        self.testing = {}  # settings of onceq's testing build
        self.disks = self.template = None
        self.tablespace = ""

    def create(self, settings, template, disks=None):
        """disks: a folder with two small file systems, wal and data, for all that grows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.template, self.disks = template, disks
        if not template.exists():
            self.run("initdb", "-N", "-A", "trust", "-U", "postgres", "--locale=C.UTF-8", "-E", "UTF8",
                     "-D", template)
        shutil.copytree(template, self.data)
        if disks:
            for disk in disks.iterdir():
                for leftover in disk.iterdir():
                    shutil.rmtree(leftover)
            shutil.move(self.data / "pg_wal", disks / "wal")
            (self.data / "pg_wal").symlink_to(disks / "wal" / "pg_wal")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(self.conf.read_text())
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\nport = {self.port}\n")
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
            file.write("include_if_exists = 'testing.conf'\n")
        self.data.chmod(0o700)

    def use_disks(self):
        """For the database, too; when nobody is there but us."""
        space = self.disks / "data" / "space"
        space.mkdir()
        self.tablespace = "TABLESPACE small"
        connection = self.connect_when_up(database="template1")
        connection.query(f"CREATE TABLESPACE small LOCATION '{space}'")
        connection.query(f"ALTER DATABASE postgres SET {self.tablespace}")
        connection.close()

    def replace(self):
        """By an empty one at the same address, with the same settings."""
        if not self.stop("fast", START_PATIENCE):
            raise RuntimeError(f"the server does not stop:\n{self.tail()}")
        empty = self.folder / "empty"
        shutil.copytree(self.template, empty)
        for file in self.data.glob("*.conf"):
            shutil.copy(file, empty)
        shutil.rmtree(self.data)
        empty.rename(self.data)
        self.data.chmod(0o700)
        self.disks, self.tablespace = None, ""

    def run(self, program, *arguments, check=True, timeout=None):
        return subprocess.run([self.bin / program, *map(str, arguments)], check=check, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL if not check else None, timeout=timeout).returncode

    def tool(self, program, *arguments, check=True):
        return self.run(program, *self.address, *arguments, check=check)

    def is_running(self):
        return self.run("pg_ctl", "-D", self.data, "status", check=False) == 0

    def start(self):
        """Also while the last processes of a killed server are leaving."""
        deadline = time.monotonic() + START_PATIENCE
        while self.run("pg_ctl", "-s", "-w", "-t", START_PATIENCE, "-D", self.data, "-l", self.log, "start",
                       check=False) != 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start:\n{self.tail()}")
            time.sleep(0.05)

    def stop(self, mode="fast", patience=30):
        """False: it is still there, as after a smart stop with clients that stay."""
        return self.run("pg_ctl", "-s", "-w", "-t", patience, "-m", mode, "-D", self.data, "stop", check=False) == 0

    def postmaster(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self):
        os.kill(self.postmaster(), signal.SIGKILL)

    def reload(self):
        os.kill(self.postmaster(), signal.SIGHUP)

    def configure(self, **settings):
        """fault or clock_offset of all sessions and of the worker."""
        self.testing.update(settings)
        (self.data / "testing.conf").write_text("".join(f"onceq.{name} = '{value}'\n"
                                                        for name, value in self.testing.items()))
        self.reload()

    def conninfo(self, user="postgres", application="run.py", database="postgres"):
        return (f"host={self.folder} port={self.port} dbname={database} user={user} application_name={application}"
                " options='-c client_min_messages=notice'")

    def connect(self, **arguments):
        return Connection(self.conninfo(**arguments))

    def connect_when_up(self, patience=START_PATIENCE, **arguments):
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.connect(**arguments)
            except Lost:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the server is not up again:\n{self.tail()}") from None
                time.sleep(0.02)

    def log_size(self):
        return self.log.stat().st_size

    def log_since(self, offset):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(offset)
            return file.read()

    def tail(self, lines=40):
        return "\n".join(self.log_since(max(0, self.log_size() - 100_000)).splitlines()[-lines:])

    def note_progress(self):
        """Of a standby, if there were one."""

    def logs(self):
        return [self.log]

    def log_lines(self, offset_to_monotonic):
        """Lines that might matter, as [monotonic time, line]."""
        for line in self.log_since(0).splitlines():
            stamp = re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d+) UTC", line)
            if stamp is None:
                yield [0, line]
                continue
            seconds = calendar.timegm(time.strptime(stamp[1], "%Y-%m-%d %H:%M:%S")) + int(stamp[2]) / 1000
            yield [seconds + offset_to_monotonic, line]
