"""R18: each event takes effect once for its consumer, with its mark; and what once() answers is true."""
from collections import Counter, defaultdict


def judge_ledger(checker):
    effects = Counter((consumer, event) for consumer, event, *_ in checker.final["processed"])
    marks = {tuple(mark) for mark in checker.final["ledger"]}
    checker.exercised["events"] += len(effects)
    for event, count in effects.items():
        if count > 1:
            checker.report("R18", f"{name_of(event)} took effect {count} times")
        if event not in marks:
            checker.report("R18", f"{name_of(event)} took effect, but is not marked")
    for event in marks - effects.keys():
        checker.report("R18", f"{name_of(event)} is marked, but took no effect")
    Answers(checker).judge()


def name_of(event):
    return "/".join(event)


class Answers:
    def __init__(self, checker):
        self.checker, self.history = checker, checker.history
        self.marked = defaultdict(list)  # event → (its mark, its place in the call)
        self.asked = []
        for operation in self.history.operations:
            if operation.events and operation.outcome == "ok":
                for place, (event, new) in enumerate(zip(operation.events, operation.new)):
                    self.asked.append((operation, place, (operation.consumer, event), new))
                    if new:
                        self.marked[operation.consumer, event].append((operation, place))

    def judge(self):
        there = {(consumer, event, client, tx) for consumer, event, client, tx in self.checker.final["processed"]}
        for operation, place, event, new in self.asked:
            if not new:
                self.refused(operation, place, event)
                continue
            if event[1] in operation.events[:place]:
                self.checker.report("R18", f"{operation.name}: {name_of(event)} was new for the second time")
            self.granted(operation, event)
            kept = self.history.status_of(operation) == "committed"
            if kept and (*event, operation.client, operation.tx) not in there:
                self.checker.report("R18", f"{operation.name} marked {name_of(event)}, but its effect is gone")

    def refused(self, operation, place, event):
        """Somebody has marked it, who may have committed by then; or the same transaction before."""
        self.checker.exercised["events again"] += 1
        if not any(self.may_be_seen(mark, at, operation, place) for mark, at in self.marked[event]):
            self.checker.report("R18", f"{operation.name}: {name_of(event)} was not new, but nobody had marked it")

    def may_be_seen(self, mark, at, operation, place):
        if mark is operation:
            return at < place
        if (mark.client, mark.tx) == (operation.client, operation.tx):
            return mark.n < operation.n and (mark.undone is None or mark.undone >= operation.t_invoke)
        transaction = self.history.transaction_of(mark)
        kept = transaction.status != "aborted" or transaction.lost_at is not None
        return mark.undone is None and kept and transaction.begin <= operation.t_return

    def granted(self, operation, event):
        """Nobody's mark can have been there for certain; nor the transaction's own."""
        for mark, _ in self.marked[event]:
            if mark is operation:
                continue
            transaction = self.history.transaction_of(mark)
            if transaction is self.history.transaction_of(operation):
                there = mark.n < operation.n and mark.undone is None
            else:
                there = (self.history.status_of(mark) == "committed" and transaction.end < operation.t_invoke
                         and not self.history.forgets(transaction.end, operation.t_return))
            if there:
                self.checker.report("R18", f"{operation.name}: {name_of(event)} was new, though {mark.name} had marked it")
