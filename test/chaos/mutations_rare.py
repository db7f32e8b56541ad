"""Ways to spoil a history in which the clock was set, a database restored or a disk full; the promises hold there, too."""
from mutations import MUTATIONS
from records import FOREVER

FULL = {"event": "full wal disk", "t_invoke": 60, "t_return": 61, "full": True, "calm_after": 7, "stops": "crash"}
NO_ROOM = ('PANIC:  could not write to file "pg_wal/xlogtemp.4711": No space left on device',
           "LOG:  server process (PID 4711) was terminated by signal 6: Aborted",
           'ERROR:  could not extend file "base/5/1": wrote only 4096 of 8192 bytes at block 7',
           "client backend XX000 FATAL:  could not write init file")


def breaks(rule):
    def register(mutation):
        mutation.rare = True
        MUTATIONS[rule].append(mutation)
        return mutation
    return register


def full_disk(case):
    """Breaks nothing."""
    case.events.append(FULL)
    case.final["log"] += [[60.5, line] for line in NO_ROOM]


@breaks("R13")
def room_enough(case):
    full_disk(case)
    case.final["log"].append([80, case.rng.choice(NO_ROOM)])


@breaks("R13")
def not_for_want_of_room(case):
    full_disk(case)
    case.final["log"].append([60.5, case.rng.choice((
        "PANIC:  cannot abort transaction 1234, it was already committed",
        "LOG:  server process (PID 4711) was terminated by signal 11: Segmentation fault"))])


@breaks("R10")
def before_its_delay_by_any_clock(case):
    job = case.pick(job for job in case.jobs() if job.deliveries)
    waited = job.deliveries[0].end - job.operation.t_invoke
    case.record(job.operation)["delay"] = waited + case.history.clock.most(FOREVER) + case.rng.uniform(0.05, 2)


def dumps(case):
    return [stop for stop in case.history.stops if stop.lossy_since is not None]


@breaks("R1")
def not_in_the_dump(case):
    first = case.pick(dumps(case)[:1]).lossy_since
    case.forget_transaction(case.pick(one for one in case.history.transactions.values()
                                      if one.status == "committed" and one.sync and one.marked and one.end < first))


@breaks("R1")
def lost_after_the_restore(case):
    last = case.pick(dumps(case)[-1:]).end
    case.forget_transaction(case.pick(one for one in case.history.transactions.values()
                                      if one.status == "committed" and one.sync and one.marked and last < one.begin < one.end < FOREVER))
