"""R6 and R21 of what holders report and hear: progress() and extend() work for the holder only, and say rightly
whether a job was cancelled or its soft time limit is over; and what was reported last is what others see.

What a stop of the server can have changed in the meantime is not judged: a lease that outlives it begins anew.
"""
from records import FOREVER

SLACK = 0.001  # s, for what clocks round


def judge_reports(checker):
    reports = Reports(checker)
    for operation in checker.history.operations:
        if operation.op in ("progress", "extend") and operation.token in checker.history.leases:
            if operation.outcome == "ok":
                reports.answered(operation)
            elif operation.outcome == "fail" and operation.sqlstate == "OQ001":
                reports.refused(operation)
        elif operation.op == "watch" and operation.outcome == "ok":
            reports.watched(operation)


class Reports:
    def __init__(self, checker):
        self.checker = checker
        self.history = checker.history
        self.of_job, self.of_token = {}, {}
        for operation in self.history.operations:
            if operation.op == "progress" and not operation.refused:
                self.of_job.setdefault((operation.queue, operation.ids[0]), []).append(operation)
            if operation.op in ("progress", "extend") and operation.outcome == "ok":
                self.of_token.setdefault(operation.token, []).append(operation)

    def report(self, rule, text):
        self.checker.report(rule, text)

    def undisturbed(self, delivery, until):
        return not any(stop.begin < until and stop.end > delivery.begin for stop in self.history.stops)

    def deliveries(self, operation):
        """That it is about."""
        lease = self.history.leases[operation.token]
        ids = operation.ids or [row[0] for row in lease.operation.jobs]
        found = [self.history.by_id.get((operation.token, number)) for number in ids]
        return [delivery for delivery in found if delivery is not None]

    def gone(self, delivery, time):
        """Why this holder cannot have the job any more at that time; None: perhaps he has."""
        for end in delivery.ends:
            if end.status == "committed" and end.end < time:
                return end.operation.name
        for other in delivery.job.deliveries:
            if other.lease is not delivery.lease and other.begin > delivery.end and other.end < time:
                return other.name
        return None

    # ---- answers

    def answered(self, operation):
        self.checker.exercised["reports"] += 1
        self.checker.exercised["told to stop"] += bool(operation.soft or operation.cancelled)
        deliveries = self.deliveries(operation)
        ends = [self.gone(delivery, operation.t_invoke) if self.undisturbed(delivery, operation.t_return) else None
                for delivery in deliveries]
        if all(ends):  # also if there is none
            what = f", after {ends[0]}" if ends else ", which never held the job"
            self.report("R6", f"{operation.name}: {operation.op} of {operation.ids or 'all'} worked with token {operation.token}{what}")
        self.no_reason(operation, deliveries)
        for delivery in deliveries:
            if self.undisturbed(delivery, operation.t_return):
                self.told_in_time(operation, delivery)
        self.not_beyond(operation)

    def no_reason(self, operation, deliveries):
        held = {delivery.job.id: delivery for delivery in deliveries}
        for number in operation.cancelled:
            cancels = held[number].job.cancels if number in held else []
            if not any(cancel.begin <= operation.t_return for cancel in cancels):
                self.report("R21", f"{operation.name}: {operation.op} says that {number} was cancelled, but nobody has")
        claim = self.history.leases[operation.token].operation
        soft = self.checker.queues[claim.queue].get("soft_time_limit") or FOREVER
        if operation.soft and operation.t_return < claim.t_invoke + soft - SLACK:
            self.report("R21", f"{operation.name}: {operation.op} says that time is up, {operation.t_return - claim.t_invoke:.3f} s"
                               f" after {claim.name}")
        if not held.keys() >= set(operation.soft):
            self.report("R21", f"{operation.name}: {operation.op} tells of {operation.soft}, which are not of token {operation.token}")

    def told_in_time(self, operation, delivery):
        number, claim = delivery.job.id, delivery.lease.operation
        ends = any(end.operation.t_invoke < operation.t_return for end in delivery.ends)
        if operation.op == "extend" and ends or number in operation.cancelled:
            return
        if any(cancel.status == "committed" and delivery.end < cancel.begin and cancel.end < operation.t_invoke
               for cancel in delivery.job.cancels):
            self.report("R21", f"{operation.name}: {operation.op} does not say that {delivery.job.name} was cancelled")
        soft = self.checker.queues[claim.queue].get("soft_time_limit") or FOREVER
        if (number not in operation.soft and operation.t_invoke > delivery.end + soft + SLACK
                and not any(cancel.begin < operation.t_return for cancel in delivery.job.cancels)):
            self.report("R21", f"{operation.name}: {operation.op} does not say that the time of {delivery.job.name} is up,"
                               f" {operation.t_invoke - delivery.end:.3f} s after {claim.name}")

    def not_beyond(self, operation):
        claim = self.history.leases[operation.token].operation
        hard = self.checker.queues[claim.queue].get("hard_time_limit")
        if (operation.op == "extend" and hard and operation.t_invoke > claim.t_return + hard + SLACK
                and not any(stop.begin < operation.t_return and stop.end > claim.t_invoke for stop in self.history.stops)):
            self.report("R21", f"{operation.name}: extended the lease of {claim.name} although its hard limit was over")

    def refused(self, operation):
        """The holder himself, as he has shown by another report later; when nobody has tried to end the job."""
        lease = self.history.leases[operation.token]
        claim = lease.operation
        # Who asks is told of these before the worker takes the lease away.
        if any(cause in ("limit", "rollback", "session") and begin <= operation.t_return for begin, cause in lease.causes):
            return
        later = next((other for other in self.of_token.get(operation.token, []) if other.t_invoke > operation.t_return
                      and (operation.op == "extend" or other.ids == operation.ids)), None)
        if later is None:
            return
        deliveries = self.deliveries(later)
        ends = [end for delivery in deliveries for end in delivery.ends + delivery.job.cancels]
        if (deliveries and not any(end.operation.t_invoke < later.t_return for end in ends)
                and self.undisturbed(deliveries[0], later.t_return)):
            self.report("R21", f"{operation.name}: {operation.op} was refused to the holder, who is so in {later.name}")

    # ---- what others see

    def watched(self, operation):
        written = self.of_job.get((operation.queue, operation.ids[0]), [])
        if operation.value is None:
            self.not_forgotten(operation, written)
            return
        self.checker.exercised["reports seen"] += 1
        own = next((one for one in written if one.value == operation.value and one.t_invoke < operation.t_return), None)
        if own is None:
            self.report("R21", f"{operation.name}: {operation.value} was never reported of {operation.queue}/{operation.ids[0]}")
            return
        newer = self.last_before(written, operation.t_invoke)
        if newer is not None and newer.t_invoke > own.t_return:
            self.report("R21", f"{operation.name}: sees what {own.name} reported, not {newer.name}")
        delivery = self.history.by_id.get((own.token, operation.ids[0]))
        gone = delivery and self.undisturbed(delivery, operation.t_return) and self.gone(delivery, operation.t_invoke)
        if gone:
            self.report("R21", f"{operation.name}: sees what {own.name} reported, after {gone}")

    def not_forgotten(self, operation, written):
        """Who reports again has held it all the time."""
        last = self.last_before(written, operation.t_invoke)
        if last is None:
            return
        delivery = self.history.by_id.get((last.token, operation.ids[0]))
        later = any(one.token == last.token and one.outcome == "ok" and one.t_invoke > operation.t_return and not one.cancelled
                    for one in written)
        if later and delivery and self.undisturbed(delivery, operation.t_return):
            self.report("R21", f"{operation.name}: sees nothing, although {last.name} has reported")

    @staticmethod
    def last_before(written, time):
        """Nothing is kept of those that were cancelled."""
        known = [one for one in written if one.outcome == "ok" and one.t_return < time and not one.cancelled]
        return max(known, key=lambda one: one.t_invoke, default=None)
