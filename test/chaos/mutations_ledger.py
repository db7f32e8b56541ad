"""Events that take effect twice, or not at all; answers that are not true."""
from mutations import breaks


def marks(case, new=True):  # (call, place, event) of what was committed, and in no doubt
    for operation in case.history.operations:
        if operation.events and operation.outcome == "ok" and case.history.status_of(operation) == "committed":
            for place, event in enumerate(operation.events):
                if operation.new[place] == new:
                    yield operation, place, event


def row_of(case, event):
    return case.pick(row for row in case.final["processed"] if row[1] == event)


def ask(case, like, event, new, time):
    return case.add(like, events=[event], new=[new], ids=[], mark=False, op="once", t_invoke=time, t_return=time + 0.001)


@breaks("R18")
def effect_twice(case):
    case.final["processed"].append(list(case.pick(case.final["processed"])))


@breaks("R18")
def effect_of_two(case):
    """Two consumers have taken the same event."""
    row = case.pick(case.final["processed"])
    case.final["processed"].append([*row[:2], "x", 1])


@breaks("R18")
def marked_without_effect(case):
    case.final["processed"].remove(case.pick(case.final["processed"]))


@breaks("R18")
def effect_without_mark(case):
    case.final["ledger"].remove(case.pick(case.final["ledger"]))


@breaks("R18")
def neither_mark_nor_effect(case):
    """Although both were committed."""
    _, _, event = case.pick(marks(case))
    case.final["processed"].remove(row_of(case, event))
    case.final["ledger"].remove(["billing", event])


@breaks("R18")
def effect_of_another_transaction(case):
    row_of(case, case.pick(marks(case))[2])[3] += 1000


@breaks("R18")
def new_again(case):
    """Long after somebody had marked it; and then rolled back, so that no effect tells."""
    operation, _, event = case.pick(marks(case))
    end = case.history.transaction_of(operation).end
    if case.history.forgets(end, FAR):
        raise LookupError
    ask(case, operation, event, True, min(end + case.rng.uniform(0.001, 3), FAR))
    case.records[-1].update(auto=False)


@breaks("R18")
def new_again_in_the_same_call(case):
    operation, place, event = case.pick(one for one in marks(case, new=False) if one[2] in one[0].events[:one[1]])
    case.record(operation)["new"][place] = True


@breaks("R18")
def marked_by_nobody(case):
    operation, *_ = case.pick(marks(case))
    ask(case, operation, "never seen", False, case.rng.uniform(0.1, 3))


@breaks("R18")
def refused_before_it_was_marked(case):
    operation, _, event = case.pick(marks(case))
    found = [case.history.transaction_of(other).begin for other in case.history.operations
             if other.events and event in other.events]
    ask(case, operation, event, False, min(found) - 0.01)


@breaks("R18")
def refused_by_who_rolled_back(case):
    """The one mark of the event is undone, with its effect."""
    operation, _, event = case.pick(marks(case))
    later = [other for other in case.history.operations if other.events and event in other.events
             and case.history.transaction_of(other) is not case.history.transaction_of(operation)]
    if not any(new is False for other in later for seen, new in zip(other.events, other.new) if seen == event):
        raise LookupError
    if any(new for other in later for seen, new in zip(other.events, other.new) if seen == event):
        raise LookupError
    transaction = case.history.transaction_of(operation)
    case.forget_transaction(transaction)
    case.record(transaction.ending)["op"] = "rollback"
    for seen in transaction.operations:
        for gone in seen.events:
            if [row for row in case.final["processed"] if row[1:] == [gone, transaction.client, transaction.number]]:
                case.final["processed"].remove(["billing", gone, transaction.client, transaction.number])
                case.final["ledger"].remove(["billing", gone])


FAR = 100
