#!/usr/bin/env python3
"""Reads what bench/run.sh measured, and prints it as a page of Markdown: report.py machine.txt runs.txt"""
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

TITLES = {
    "claim": "Claim, then acknowledge: two statements, two transactions",
    "lean": "The same, compared with the least SKIP LOCKED queue that still works",
    "ack_and_claim": "Acknowledge and claim in one statement",
    "enqueue": "Enqueue",
}
HEAD = ["batch", "clients", "onceq jobs/s", "SKIP LOCKED jobs/s", "ratio", "WAL B/job", "dead rows/job",
        "server CPU µs/job", "round p50 / p99 / max ms: onceq", "SKIP LOCKED", "others"]


def read_runs(file):
    """One dictionary a line; numbers where they are numbers."""
    for line in Path(file).read_text().splitlines():
        run = dict(word.split("=", 1) for word in line.split())
        yield {name: float(value) if value[0].isdigit() else value for name, value in run.items()}


def spread(values, form):
    """The median, and how far apart the runs were."""
    return f"{form(median(values))} ({form(min(values))}–{form(max(values))})"


def whole(value):
    return f"{value:,.0f}"


def ratio(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def middle(runs, name):
    return median(run[name] for run in runs)


def small(value):
    """Two digits are enough for what a job costs."""
    return "0" if value < 0.0005 else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def latency(runs):
    return " / ".join(f"{value / 1000:.2f}" for value in (
        middle(runs, "p50_us"), middle(runs, "p99_us"), max(run["max_us"] for run in runs)))


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "--:|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def compared(runs):
    """A row per batch and number of clients; the n-th run of onceq is compared with the n-th of the other."""
    cells = defaultdict(lambda: defaultdict(list))
    for run in runs:
        cells[run["batch"], run["clients"]][run["system"]].append(run)
    for (batch, clients), systems in cells.items():
        ours, theirs = systems.values()

        def both(name):
            return f"{small(middle(ours, name))} / {small(middle(theirs, name))}"
        yield [whole(batch), whole(clients),
               *(spread([run["rate"] for run in side], whole) for side in (ours, theirs)),
               spread([a["rate"] / b["rate"] for a, b in zip(ours, theirs)], ratio),
               both("wal_bytes"), both("dead"), both("cpu_us"), latency(ours), latency(theirs),
               f"{middle(ours + theirs, 'others_percent'):.0f} %"]


def snapshot_rows(runs):
    cells = defaultdict(lambda: defaultdict(list))
    for run in runs:
        cells[run["scenario"], run["batch"], run["system"]][run["snapshot"]].append(run)
    for (scenario, batch, system), sides in cells.items():
        without, held = sides[0], sides[1]
        what = {"claim_ack": "claim, ack", "cycle": "enqueue, claim, ack"}[scenario]
        yield [f"{what} × {batch:.0f}", system.replace("skip_locked", "SKIP LOCKED"),
               *(spread([run["rate"] for run in side], whole) for side in (without, held)),
               spread([a["rate"] / b["rate"] for a, b in zip(held, without)], ratio),
               latency(without), latency(held), f"{middle(without + held, 'others_percent'):.0f} %"]


def floor_rows(runs):
    names = {"select": "`SELECT 1`", "commit": "durable commit of nothing"}
    for scenario, name in names.items():
        yield [name] + [whole(run["rate"]) for run in runs if run["scenario"] == scenario]


def report(machine, runs):
    sections = defaultdict(list)
    for run in runs:
        sections[run["section"]].append(run)
    yield "# onceq and a hand-written SKIP LOCKED queue"
    yield ""
    yield from (f"* {line}" for line in machine)
    yield ""
    yield "Medians (least–greatest). A ratio is taken within a pair of runs, one right after the other. Columns with"
    yield "two values: onceq / SKIP LOCKED. A round is what a client repeats; others: what they used of the processors."
    yield ""
    yield "## What the machine can do, per second"
    yield ""
    yield from table(["", "1 client", "4 clients", "16 clients"], floor_rows(sections["floor"]))
    for section, title in TITLES.items():
        if section in sections:
            yield f"## {title}"
            yield ""
            yield from table(HEAD, compared(sections[section]))
    yield "## While another session holds a snapshot"
    yield ""
    yield from table(["4 clients", "queue", "jobs/s without", "jobs/s with", "with / without",
                      "round p50 / p99 / max ms: without", "with", "others"], snapshot_rows(sections["snapshot"]))


def main():
    machine, runs = sys.argv[1:]
    print("\n".join(report(Path(machine).read_text().splitlines(), read_runs(runs))))


main()
