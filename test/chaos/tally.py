"""What a run has been through, by kind: faults that the nemesis noted, and what clients brought upon themselves."""
import re
from collections import Counter

# As the server's log tells it: a statement that is cancelled may be over by then.
LOGGED = {
    "canceling statement due to user request": "statements cancelled",
    "canceling statement due to statement timeout": "statement timeouts",
    "canceling statement due to lock timeout": "lock timeouts",
    "terminating connection due to idle-in-transaction timeout": "idle timeouts",
    "PANIC:": "panics",
}
NOTED = {
    "kill -9 backend": "backends killed", "kill at a fault point": "backends killed at a point of the code",
    "stop at a fault point": "processes stopped at a point of the code",
    "kill -9 postmaster": "postmasters killed", "kill -9 worker": "workers and launchers killed",
    "kill -9 launcher": "workers and launchers killed", "kill in the worker": "workers and launchers killed",
    "immediate restart": "restarts", "fast restart": "restarts", "smart restart": "restarts",
    "fail over": "promotions", "pg_terminate_backend": "sessions terminated",
    "terminate worker": "workers and launchers terminated", "terminate launcher": "workers and launchers terminated",
    "client killed": "clients killed", "client stopped": "processes stopped", "backend stopped": "processes stopped",
    "worker stopped": "processes stopped",
}
ERRORS = re.compile("^(error|oom|fatal) ")
UNTOLD = {"pg_cancel_backend", "fault point not reached", "last restart", "new standby", "slow machine"}


def tally(history, logs, files):
    """events: of the nemesis; logs: files of servers; files: of clients."""
    found = Counter()
    for event in history.events:
        kind = "errors at a point of the code" if ERRORS.match(event["event"]) else event["event"]
        if kind not in UNTOLD:
            found[NOTED.get(kind, kind)] += event.get("count", 1)
    pattern = re.compile("|".join(map(re.escape, LOGGED)))
    for log in logs:
        found.update(LOGGED[text] for text in pattern.findall(log.read_text(errors="replace")))
    found["calls cut off"] = sum(file.read_text().count('"reset":true') for file in files)
    return found


def describe(found):
    return ", ".join(f"{count} {kind}" for kind, count in sorted(found.items(), key=lambda item: (-item[1], item[0])))
