#!/usr/bin/env python3
"""Reads what bench/run.sh measured, and prints it as a page of Markdown: report.py machine.txt runs.txt"""
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

# section: title, and what alternates in it
COMPARISONS = {
    "claim": ("Claim, then ack: two statements, two transactions", "onceq", "SKIP LOCKED"),
    "backlog": ("A backlog of a million jobs, claimed and acked to the end", "onceq", "SKIP LOCKED"),
    "lean": ("The same, and the least SKIP LOCKED queue that still works", "onceq", "lean SKIP LOCKED"),
    "forms": ("onceq: ack and claim in one statement, and in two", "one", "two"),
    "durable": ("Claim, then ack: ordinary leases, and a queue with durable_leases", "ordinary", "durable"),
    "enqueue": ("Enqueue", "onceq", "SKIP LOCKED"),
    "unique": ("onceq: enqueue under a unique key of its own, and without", "with", "without"),
    "taken": ("onceq: enqueue under a unique key that is taken, which adds nothing, and without", "with", "without"),
}
PEERS = {"pgq": "PgQ", "bullmq": "BullMQ, Redis always", "bullmq_everysec": "BullMQ, Redis everysec",
         "rabbitmq": "RabbitMQ", "graphile_worker": "graphile-worker", "pg_boss": "pg-boss"}
ROUNDS = {"claim_ack": "claim, ack", "cycle": "enqueue, claim, ack", "enqueue": "enqueue"}
PEER_NOTES = """\
Two values in a column: onceq's, and theirs. Clients: threads, or calls at a time of one process where clients are
written for node (BullMQ, graphile-worker, pg-boss). RabbitMQ: a quorum queue, messages persistent and
confirmed; its acks are sent, not confirmed, while those of the others are durable. PgQ: ticks are cut beforehand,
so that a batch has the size that is asked for. BullMQ, and graphile-worker at batch 100 and more, claim ahead."""
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
    return spread([one["rate"] / other["rate"] for one, other in zip(upper, lower)], ratio)


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

        def both(column, form=small):
            return " / ".join(form(median(run[column] for run in side)) for side in (ours, theirs))
        yield [PEERS[peer], ROUNDS[scenario], batch, whole(int(backlog)), both("clients", whole), rates(ours), rates(theirs),
               ratios(ours, theirs), both("cpu_us"), latency(ours), latency(theirs), others(ours + theirs)]


def floor(runs):
    for scenario, name in ("select", "`SELECT 1`"), ("commit", "durable commit of next to nothing"):
        yield [name] + [whole(run["rate"]) for run in runs if run["scenario"] == scenario]


def report(machine, runs):
    sections = defaultdict(list)
    for run in runs:
        sections[run["section"]].append(run)
    yield from ["# onceq and a hand-written SKIP LOCKED queue", ""]
    yield from (f"* {line}" for line in machine)
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
    peers = list(beside_peers(sections))
    if peers:
        yield from ["## Other queues", "", PEER_NOTES, ""]
        yield from table(["queue", "round", "batch", "backlog", "clients", "onceq, jobs/s", "it, jobs/s", "ratio",
                          "server CPU µs/job", "p50 / p99 / max ms: onceq", "it", "others"], peers)


def main():
    machine, runs = sys.argv[1:]
    print("\n".join(report(Path(machine).read_text().splitlines(), read_runs(runs))))


main()
