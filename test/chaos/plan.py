"""The plan of the faults of a run; it follows from the seed."""
from clients import CALLBACKS, CONSUMER_POINTS, JANITOR_POINTS, PRODUCER_POINTS

# How many faults of each kind in all runs of `make check` together, and how many runs that are. Which of
# the runs see what is rare depends on the seed.
RUNS, ALONE = 12, {
    "kill backend": 120, "kill at point": 132, "error at point": 36, "kill postmaster": 26, "kill worker": 24,
    "kill launcher": 10, "immediate": 10, "fast": 10, "smart": 3, "terminate": 108, "cancel": 60,
    "terminate worker": 10, "worker kill": 10, "worker error": 12, "stop client": 60, "stop backend": 36,
    "stop worker": 12, "kill client": 100, "administrate": 84, "dump": 10, "old snapshot": 10,
    "full data": 2, "full wal": 2, "step clock": 20, "restore beside": 1, "restore elsewhere": 1, "other database": 16,
    "stop at point": 36,
}
RUNS_WITH_STANDBY, WITH_STANDBY = 2, {
    "fail over": 6, "kill backend": 6, "kill at point": 4, "kill worker": 2, "stop client": 4, "kill client": 6,
    "administrate": 6,
}
LONG = 6  # times as many
NEED_DISKS = "full data", "full wal"

# Where most may go wrong meanwhile.
IN_COMMIT = "pre-commit: after pin", "commit: before effects", "commit: after clock"
IN_CHORES = ("expire: after begin", "expire: after insert", "due: after watermark", "due: before promote", "due: after look",
             "journal: after mark", "journal: after insert", "audit: after seize")
WORKER_POINTS = ("expire: after begin", "expire: after insert", "due: after watermark", "due: before promote",
                 "journal: after mark", "journal: after insert", "room: after ceiling", "segments: after seal",
                 "segments: before drop", "segments: after drop", "build: after jobs", "build: before standing",
                 "restore: after slot")


def amounts(seed, with_standby, long):
    """The share of one run. Any so many runs in a row get all of it; what is rare is spread over them."""
    runs, wanted = (RUNS_WITH_STANDBY, WITH_STANDBY) if with_standby else (RUNS, ALONE)
    found = {}
    for number, (kind, amount) in enumerate(wanted.items()):
        place, amount = (seed + 5 * number) % runs, amount * (LONG if long else 1)
        found[kind] = amount * (place + 1) // runs - amount * place // runs
    return found


# What does not bring the server down. The second storm has nothing else: what leaks must not be forgotten
# by a crash that happens to follow.
GENTLE = {"error at point", "terminate", "cancel", "terminate worker", "stop client", "stop backend",
          "stop worker", "stop at point", "kill client", "administrate", "dump", "old snapshot",
          "step clock", "other database"}


def make_plan(rng, amounts):
    """Two storms of faults, each a list of (method, arguments). amounts: how many of each kind."""
    points = sorted({*PRODUCER_POINTS, *CONSUMER_POINTS, *JANITOR_POINTS})
    points_to_stay = sorted({*PRODUCER_POINTS, *CONSUMER_POINTS})
    points_of_errors = [point for point in points if point not in CALLBACKS]
    makers = {
        "kill backend": lambda: ("kill_backend", (rng.choice(("any", "active", "idle in transaction")),)),
        "kill at point": lambda: ("fault_point", ("kill", rng.choice(points))),
        "stop at point": lambda: ("stop_at_point", (rng.choice(rng.choice((IN_COMMIT, IN_CHORES, points_to_stay))),
                                                    rng.uniform(0.4, 0.8))),
        "error at point": lambda: ("fault_point", (rng.choice(("error", "oom", "fatal")), rng.choice(points_of_errors))),
        "kill postmaster": lambda: ("kill_postmaster", ()),
        "kill worker": lambda: ("kill_helper", ("onceq worker",)),
        "kill launcher": lambda: ("kill_helper", ("onceq launcher",)),
        "fail over": lambda: ("fail_over", ()),
        "immediate": lambda: ("restart", ("immediate",)),
        "fast": lambda: ("restart", ("fast",)),
        "smart": lambda: ("restart", ("smart",)),
        "terminate": lambda: ("terminate", (rng.choice(("any", "any", "idle in transaction")),)),
        "cancel": lambda: ("cancel", (rng.randrange(20, 80),)),
        "terminate worker": lambda: ("terminate_helper", (rng.choice(("onceq worker", "onceq launcher")),)),
        "worker kill": lambda: ("worker_fault", ("kill", rng.choice(WORKER_POINTS))),
        "worker error": lambda: ("worker_fault", (rng.choice(("error", "oom", "fatal")),
                                                  rng.choice(WORKER_POINTS))),
        "stop client": lambda: ("stop_client", (rng.uniform(0.4, 2.5),)),
        "stop backend": lambda: ("stop_process", ("backend", rng.uniform(0.05, 0.4))),
        "stop worker": lambda: ("stop_process", ("worker", rng.uniform(0.2, 0.8))),
        "kill client": lambda: ("kill_client", ()),
        "administrate": lambda: ("administrate", (rng.choice(
            ("vacuum", "vacuum full", "analyze", "freeze", "reindex", "cluster", "lock", "checkpoint")),)),
        "dump": lambda: ("dump", ()),
        "old snapshot": lambda: ("old_snapshot", (rng.uniform(0.5, 4),)),
        "full data": lambda: ("full_disk", ("data",)),
        "full wal": lambda: ("full_disk", ("wal",)),
        "step clock": lambda: ("step_clock", (rng.choice((1, 2, 3600, -1, -1, -2)),)),
        "restore beside": lambda: ("restore_beside", ()),
        "restore elsewhere": lambda: ("restore_elsewhere", ()),
        "other database": lambda: ("other_database", ()),
    }
    crashes, others = [], []
    for kind, amount in amounts.items():
        (others if kind in GENTLE else crashes).extend(makers[kind]() for _ in range(amount))
    rng.shuffle(others)
    mixed = crashes + others[len(others) // 2:]
    rng.shuffle(mixed)
    return mixed, others[:len(others) // 2]
