#!/usr/bin/env python3
"""Reads what bench/run.sh measured, and prints it as a page of Markdown: report.py build/bench"""
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

# section: title, and what alternates in it
COMPARISONS = {
    "claim": ("Claim, then ack: two statements, two transactions", "onceq", "SKIP LOCKED"),
    "backlog": ("A backlog of a million jobs, claimed and acked to the end", "onceq", "SKIP LOCKED"),
    "limit": ("Claim, then ack; and reading as many rows by key, then a durable commit of next to nothing", "onceq",
              "read and commit"),
    "lean": ("The same as at first, and the least SKIP LOCKED queue that still works", "onceq", "lean SKIP LOCKED"),
    "forms": ("onceq: ack and claim in one statement, and in two", "one", "two"),
    "durable": ("Claim, then ack: ordinary leases, and a queue with durable_leases", "ordinary", "durable"),
    "enqueue": ("Enqueue", "onceq", "SKIP LOCKED"),
    "consumers": ("More and more consumers: claim, then ack", "onceq", "SKIP LOCKED"),
    "unique": ("onceq: enqueue under a unique key of its own, and without", "with", "without"),
    "taken": ("onceq: enqueue under a unique key that is taken, which adds nothing, and without", "with", "without"),
}
OUT = Path(sys.argv[1])
PEERS = {"pgq": "PgQ", "bullmq": "BullMQ, Redis always", "bullmq_everysec": "BullMQ, Redis everysec",
         "pgmq": "pgmq", "onceq": "onceq",
         "skip_locked": "SKIP LOCKED", "rabbitmq": "RabbitMQ", "graphile_worker": "graphile-worker", "pg_boss": "pg-boss"}
ROUNDS = {"claim_ack": "claim, ack", "cycle": "enqueue, claim, ack", "enqueue": "enqueue"}
PEER_NOTES = """\
Two values in a column: onceq's, and theirs. Clients: threads, or calls at a time of one process where clients are
written for node (BullMQ, graphile-worker, pg-boss). RabbitMQ: a quorum queue, messages persistent and
confirmed; its acks are sent, not confirmed, while those of the others are durable. PgQ: ticks are cut beforehand,
so that a batch has the size that is asked for. BullMQ, and graphile-worker at batch 100 and more, claim ahead. PgQ
delivers at ticks and pgmq to who asks, so neither is among those whose clients wait."""
INTRODUCTION = """\
Medians (least–greatest). A ratio is one of neighbouring runs. Two values in a column are one of each
side. A round is what a client repeats: p50 and p99 are medians, max is the greatest of all runs.
Others: the share of the processors that others used meanwhile."""


def read_runs(file):
    """One dictionary a line; numbers where they are numbers."""
    for line in Path(file).read_text().splitlines():
        run = dict(word.split("=", 1) for word in line.split())
        yield {name: float(value) if value[0].isdigit() else value for name, value in run.items()}


def whole(value):
    return f"{value:,.0f}"


def ratio(value):
    return f"{value:.2f}" if value < 2 else f"{value:.1f}"


def small(value):
    """Two digits are enough for what a job costs."""
    return "0" if value < 0.005 else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def spread(values, form):
    return f"{form(median(values))} ({form(min(values))}–{form(max(values))})"


def rates(runs):
    return spread([run["rate"] for run in runs], whole)


def ratios(upper, lower):
    return spread([one["rate"] / max(other["rate"], 1) for one, other in zip(upper, lower)], ratio)


def latency(runs):
    if not any(run["max_us"] for run in runs):
        return "–"  # its clients cannot tell
    p50, p99 = (median(run[name] for run in runs) for name in ("p50_us", "p99_us"))
    return " / ".join(f"{value / 1000:.2f}" for value in (p50, p99, max(run["max_us"] for run in runs)))


def others(runs):
    return f"{median(run['others_percent'] for run in runs):.0f} %"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "--:|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def compared(runs):
    """A row per batch and number of clients."""
    cells = defaultdict(lambda: defaultdict(list))
    for run in runs:
        cells[run["batch"], run["clients"]][run["system"], run["scenario"]].append(run)
    for (batch, clients), sides in cells.items():
        first, second = sides.values()

        def both(name):
            return " / ".join(small(median(run[name] for run in side)) for side in (first, second))
        yield [whole(batch), whole(clients), rates(first), rates(second), ratios(first, second),
               both("wal_bytes"), both("dead"), both("cpu_us"), latency(first), latency(second),
               others(first + second)]


def with_snapshot(runs):
    cells = defaultdict(lambda: ([], []))
    for run in runs:
        cells[run["scenario"], run["batch"], run["system"]][int(run["snapshot"])].append(run)
    for (scenario, batch, system), (without, held) in cells.items():
        what = ROUNDS[scenario]
        yield [f"{what} × {batch:.0f}", {"onceq": "onceq"}.get(system, "SKIP LOCKED"), rates(without), rates(held),
               ratios(held, without), latency(without), latency(held), others(without + held)]


def beside_peers(sections):
    """A row per peer, scenario and batch: onceq and the peer, which may work best with another number of clients."""
    for name in (name for name in sections if name.startswith("peers/")):
        _, peer, scenario, batch, backlog = name.split("/")
        ours, theirs = ([run for run in sections[name] if (run["system"] == "onceq") == own] for own in (True, False))
        if not ours or not theirs:
            continue  # it failed, which is said above

        def both(column, form=small):
            return " / ".join(form(median(run[column] for run in side)) for side in (ours, theirs))
        yield [PEERS[peer], ROUNDS[scenario], batch, whole(int(backlog)), both("clients", whole), rates(ours), rates(theirs),
               ratios(ours, theirs), both("cpu_us"), latency(ours), latency(theirs), others(ours + theirs)]


def by_side(runs):
    """The runs of each side: what was measured with what."""
    sides = defaultdict(list)
    for run in runs:
        sides[run["system"], run["scenario"], run["clients"]].append(run)
    return sides.items()


def one_by_one(runs):
    sides = by_side(runs)
    floor_runs = next(side for (_, scenario, _), side in sides if scenario == "commit")
    for (system, scenario, clients), side in sides:
        name = {"ack_and_claim": "`ack_and_claim`", "commit": "durable commit of next to nothing"}.get(scenario)
        yield [name or PEERS[system], whole(clients), rates(side), ratios(side, floor_runs), small(median(
            run["cpu_us"] for run in side)), whole(1e6 / max(median(run["cpu_us"] for run in side), 0.01)), others(side)]


def latencies(runs):
    for (system, _, _), side in by_side(runs):
        yield [PEERS[system], latency(side), others(side)]


def waiters(runs):
    for (system, _, clients), side in by_side(runs):
        yield [PEERS[system], whole(clients), spread([run["server_ms_s"] for run in side], whole), others(side)]


def held(runs):
    for run in runs:
        steps = [float(line.split()[2]) for line in Path(OUT, "detail", f"held.{run['system']}").open()
                 if line.startswith("t ")]
        fifth = max(len(steps) // 5, 1)
        first, last = median(steps[:fifth]), median(steps[-fifth:])
        yield [PEERS[run["system"]], whole(run["seconds"]), whole(first), whole(last), ratio(last / max(first, 1)),
               latency([run]), others([run])]


def disk(runs):
    names = {"onceq": "onceq, done jobs not kept", "onceq_kept": "onceq, done jobs kept",
             "skip_locked": "SKIP LOCKED, done jobs deleted"}
    for run in runs:
        yield [names[run["system"]], whole(run["jobs"]), *(whole(run[name]) for name in ("first_mb", "most_mb", "last_mb")),
               whole(run["last_mb"] * 1e6 / run["jobs"])]


def rebuilt(runs):
    for run in runs:
        yield [PEERS[run["system"]], whole(run["backlog"]), *(f"{run[name] / 1000:.2f}" for name in ("answers_ms", "claims_ms"))]


SCENARIOS = {
    "one": ("One job at a time, one durable commit each",
            ["what", "clients", "a second", "share of the durable commits", "server CPU µs", "a second and core of the server",
             "others"], one_by_one),
    "latency": ("A job for a waiting client: from the call that enqueues it to the claim's return; 100 jobs/s",
                ["queue", "p50 / p99 / max ms", "others"], latencies),
    "waiters": ("Clients that wait while nothing happens",
                ["queue", "clients", "server CPU, ms a second", "others"], waiters),
    "held": ("While a snapshot is held: enqueue, claim, ack × 1; 4 clients",
             ["queue", "seconds", "jobs/s, first fifth", "last fifth", "last / first", "p50 / p99 / max ms", "others"], held),
    "disk": ("A day's jobs in quick motion: 24 times as many are enqueued, and done",
             ["queue", "jobs in all", "MB after the first time", "most MB", "MB at the end", "bytes a job at the end"], disk),
    "rebuild": ("After a crash, with a backlog",
                ["queue", "backlog", "answers after s", "claims after s"], rebuilt),
}


def floor(runs):
    for scenario, name in ("select", "`SELECT 1`"), ("commit", "durable commit of next to nothing"):
        yield [name] + [whole(run["rate"]) for run in runs if run["scenario"] == scenario]


def report(machine, runs):
    sections = defaultdict(list)
    for run in runs:
        sections[run["section"]].append(run)
    yield from ["# onceq and a hand-written SKIP LOCKED queue", ""]
    yield from (f"* {line}" for line in machine)
    if (OUT / "skipped.txt").exists():
        yield from (f"* {line}" for line in (OUT / "skipped.txt").read_text().splitlines())
    yield from ["", INTRODUCTION, "", "## What the machine can do, per second", ""]
    yield from table(["", "1 client", "4 clients", "16 clients"], floor(sections["floor"]))
    for section, (title, first, second) in COMPARISONS.items():
        if section in sections:
            yield from [f"## {title}", ""]
            yield from table(["batch", "clients", f"{first}, jobs/s", f"{second}, jobs/s", "ratio", "WAL B/job",
                              "dead rows/job", "server CPU µs/job", f"p50 / p99 / max ms: {first}", second,
                              "others"], compared(sections[section]))
    if "snapshot" in sections:
        yield from ["## While another session holds a snapshot; 4 clients", ""]
        yield from table(["round", "queue", "jobs/s without", "jobs/s with", "with / without",
                          "p50 / p99 / max ms: without", "with", "others"], with_snapshot(sections["snapshot"]))
    for section, (title, head, rows) in SCENARIOS.items():
        if section in sections:
            yield from [f"## {title}", ""]
            yield from table(head, rows(sections[section]))
            if (OUT / "plots" / f"{section}.svg").exists():
                yield from [f"![{title}](plots/{section}.svg)", ""]
    peers = list(beside_peers(sections))
    if peers:
        yield from ["## Other queues", "", PEER_NOTES, ""]
        yield from table(["queue", "round", "batch", "backlog", "clients", "onceq, jobs/s", "it, jobs/s", "ratio",
                          "server CPU µs/job", "p50 / p99 / max ms: onceq", "it", "others"], peers)


def main():
    print("\n".join(report((OUT / "machine.txt").read_text().splitlines(), read_runs(OUT / "runs.txt"))))


main()
