#!/usr/bin/env python3
"""The checker accepts good histories and rejects bad ones, by the rule meant.

Good ones are made by synthetic.py. A bad one is a good one with one change (mutations*.py) that breaks one
rule: a job delivered twice at once, an effect too many, a line in the log … Each rule gets MUTANTS of
them, by several kinds of change. Prints TAP, one test per history.
"""
import sys
import tempfile
from json import dumps
from pathlib import Path

from checker import RULES, Checker
from history import History
from mutations import MUTATIONS, Case
import mutations_jobs, mutations_leases, mutations_ledger, mutations_lives  # noqa: F401, E401: they register themselves
import mutations_letters, mutations_limits, mutations_order, mutations_rare, mutations_rates, mutations_run  # noqa: F401, E401
import mutations_reports, mutations_several, mutations_unique  # noqa: F401, E401
from synthetic import COMMON_ONLY, make_history
from variants import VARIANTS

GOOD, VARIED, MUTANTS = 80, 10, 18
# Rarer ones, all with a restore. What it took away happens once more: a death with its copy, a purge of what had been
# cancelled, the end of a job that had been replaced.
RESTORED = 89, 1001, 1174, 3691, 4255, 6526


# ---- the tests

class Tap:
    def __init__(self):
        self.number = self.failed = 0

    def ok(self, good, what, *details):
        self.number += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.number} - {what}")
        if not good:
            print(*(f"#   {line}" for line in details), sep="\n")

    def end(self):
        print(f"1..{self.number}")
        return 1 if self.failed else 0


def accept_good(tap):
    for seed in (*range(1, GOOD + 1), *RESTORED):
        broken = Case(seed).verdict()
        tap.ok(not broken, f"good history {seed} is accepted", *(f"{k}: {v[0]}" for k, v in broken.items()))


def accept_rare(tap, variant):
    made = 0
    for seed in range(1, GOOD + 1):
        case = Case(seed)
        try:
            variant(case)
        except LookupError:
            continue
        made += 1
        broken = case.verdict()
        tap.ok(not broken, f"good history {seed} with {variant.__name__} is accepted", broken)
        if made == VARIED:
            return
    tap.ok(False, f"{variant.__name__}: only {made}")


def reject_bad(tap, rule):
    seed, made = 1000 * int(rule[1:]), 0
    for tries in range(MUTANTS * 30):
        mutation = MUTATIONS[rule][tries % len(MUTATIONS[rule])]
        case = Case(seed % COMMON_ONLY + 1 + COMMON_ONLY * hasattr(mutation, "rare"))
        case.rng.seed(seed)
        seed += 1
        try:
            mutation(case)
        except (LookupError, ValueError):  # there is nothing of this kind to spoil
            continue
        broken = case.verdict()
        tap.ok(rule in broken, f"{rule} rejects {mutation.__name__}, {seed}", f"broken: {', '.join(broken) or 'none'}")
        made += 1
        if made == max(MUTANTS, 4 * len(MUTATIONS[rule])):
            return
    tap.ok(False, f"{rule}: only {made} mutants")


def read_from_files(tap):
    """As clients write it: a line for the call, one for the return; the last one may be torn."""
    records, events, final = make_history(1)
    with tempfile.TemporaryDirectory() as folder:
        for client in sorted({record["client"] for record in records}):
            lines = []
            for record in (record for record in records if record["client"] == client):
                later = {name: record[name] for name in record if name in LATER}
                lines.append(dumps({name: value for name, value in record.items() if name not in LATER}))
                lines.append(dumps({"n": record["n"], **later}))
            torn = lines[-1][:5]
            Path(folder, f"{client}.jsonl").write_text("\n".join([*lines, torn]))
        Path(folder, "nemesis.jsonl").write_text("\n".join(map(dumps, events)))
        Path(folder, "final.json").write_text(dumps(final))
        checker = Checker(History.load(folder))
    tap.ok(checker.run(), "a history is read from files", dict(checker.broken))
    whole = Checker(History(records, events, final))
    whole.run()
    tap.ok(checker.exercised == whole.exercised, "and is the same", checker.exercised, whole.exercised)


LATER = {"t_return", "outcome", "sqlstate", "lost", "ids", "count", "due", "dead", "new", "soft", "cancelled"}


def main():
    tap = Tap()
    accept_good(tap)
    for variant in VARIANTS:
        accept_rare(tap, variant)
    for rule in RULES:
        reject_bad(tap, rule)
    read_from_files(tap)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
