"""Good histories made rarer: changes that break nothing, and that the checker must accept."""
from mutations_rare import full_disk
from mutations_rates import another_bucket, burst_after_a_pause, first_ones_after_a_restart, given_back, perhaps_given_back
from mutations_reports import (cancelled_before_its_id_was_given_again, cancelled_meanwhile, forgotten_in_a_restart,
                               refused_after_a_claim_in_vain, refused_while_others_tried_to_ack, reported_in_time,
                               told_by_a_call_that_was_lost)
from mutations_several import hidden_attempt_of_several, looked_on_by_weights, looked_on_once
from mutations_unique import refuse


def silent_death_before_a_redrive(case):
    """Nobody saw the last attempt: the claim was carried out, its lease expired, and its answer was lost."""
    job, row, death = case.pick(
        (job, row, death) for job in case.jobs("few", "fatal") for row in [case.row(job)] for death in job.deliveries[-1:]
        if row[2] == "dead" and not job.asked and not death.lease.extensions and not any(
            end.operation.token == death.lease.token for other in case.history.jobs for end in other.ends))
    case.record(death.lease.operation).update(outcome="unknown", lost=True, jobs=[], token=None)
    time = 50
    like = case.history.transaction_of(job.operation).ending
    case.add(like, op="redrive", queue=job.queue, ids=[job.id], jobs=[], t_invoke=time, t_return=time + 0.001,
             outcome="ok", count=1, mark=False)
    claim = case.claim(job.deliveries[0], time + 1, row[3] + 1)
    case.add(job.deliveries[0].lease.operation, op="ack", token=claim["token"], ids=[job.id], jobs=[], count=1,
             t_invoke=time + 2, t_return=time + 2.001, outcome="ok", effects=False)
    row[2:4] = "succeeded", row[3] + 1
    case.final["outcomes"] += [[job.queue, job.id, job.id, "redriven", row[3] - 1], [job.queue, job.id, job.id, "acked", row[3]]]


def unique_key_outlives_its_window(case):
    """The clock was ahead when the job was enqueued, and set back since."""
    job = case.pick(job for job in case.jobs("unique") if job.operation.unique_for)
    begin, end = job.operation.t_invoke, job.operation.t_return
    case.events += [{"event": "clock set", "t_invoke": begin - 0.02, "t_return": begin - 0.01, "clock": [0, 3]},
                    {"event": "clock set", "t_invoke": end + 0.01, "t_return": end + 0.02, "clock": [3, 0]}]
    refuse(case, job.operation.unique, end + job.operation.unique_for + 2)


VARIANTS = (full_disk, silent_death_before_a_redrive, unique_key_outlives_its_window, hidden_attempt_of_several,
            looked_on_by_weights, looked_on_once, burst_after_a_pause, first_ones_after_a_restart, given_back,
            perhaps_given_back, another_bucket, reported_in_time, cancelled_meanwhile, forgotten_in_a_restart,
            told_by_a_call_that_was_lost, refused_while_others_tried_to_ack, refused_after_a_claim_in_vain,
            cancelled_before_its_id_was_given_again)
