// SPDX-License-Identifier: PostgreSQL
// Runs every model as designed, which must violate nothing, and with one guard removed at a time, which
// must be found; exits with 1 if anything is otherwise.
//
//	explorer [-v] [part of a variant's name]…      -v prints the steps to every violation
#include "audit.hpp"
#include "delivery.hpp"
#include "due.hpp"
#include "journal.hpp"
#include "keys.hpp"
#include "segment.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace onceq::explorer {
namespace {

struct Variant
{
	std::string name;
	char const *expected; // violation; "" for none
	std::function<Result()> run;
};

// ---- the protocol as designed

void
add_full(std::vector<Variant> &variants)
{
	DeliveryOptions one;
	one.crashes = 2;
	DeliveryOptions two;
	two.producers = two.jobs = 2;
	two.symmetric = true;
	DeliveryOptions batch = two;
	batch.count = 2;
	batch.share = batch.purge = false;
	DeliveryOptions cancel;
	cancel.cancel = true;
	cancel.purge = false;
	DeliveryOptions cancel_one_of_two = cancel;
	cancel_one_of_two.jobs = cancel_one_of_two.count = 2;
	cancel_one_of_two.producers = 2;
	cancel_one_of_two.release = false;
	cancel_one_of_two.claimers = 1;
	cancel_one_of_two.share = false;
	cancel_one_of_two.crashes = 0;
	variants.push_back({"delivery: running jobs are cancelled", "", [=] { return explore(cancel); }});
	variants.push_back({"delivery: one job of two is cancelled", "", [=] { return explore(cancel_one_of_two); }});
	variants.push_back({"delivery: 1 job, 2 claimers, 2 crashes", "", [=] { return explore(one); }});
	variants.push_back({"delivery: 2 jobs, 2 producers, 2 claimers", "", [=] { return explore(two); }});
	variants.push_back({"delivery: 2 jobs in one claim", "", [=] { return explore(batch); }});
	variants.push_back({"due: 2 sessions promote", "", [] { return explore(DueOptions{}); }});
	variants.push_back({"segment", "", [] { return explore(SegmentOptions{}); }});
	variants.push_back({"journal", "", [] { return explore(JournalOptions{}); }});
	variants.push_back({"audit", "", [] { return explore(AuditOptions{}); }});
	variants.push_back({"keys: 2 jobs, 2 claimers, a crash", "", [] {
							return explore(KeyOptions{KeyGuard::none, 1});
						}});
}

// ---- without one guard, or without two that cover each other

struct WithoutDelivery
{
	char const *name;
	Guard removed;
	char const *expected;
	int crashes = 0;
	int jobs = 1;
	bool cancel = false;
};

constexpr WithoutDelivery without_delivery[] = {
	{"fetch after the flip", Guard::fetch_after_the_flip, "ATTEMPT-NOT-COUNTED"},
	{"ready in the COMMIT callback, not earlier", Guard::ready_in_the_commit_callback, "LOST"},
	{"… nor rows that are absent left out", Guard::ready_in_the_commit_callback | Guard::absent_rows_are_not_delivered,
	 "GHOST"},
	{"ABORT voids reserved ids", Guard::abort_voids_reserved_ids, "STUCK"},
	{"token compared", Guard::token_is_compared, "DOUBLE-EFFECT"},
	{"tokens never repeat after a start", Guard::tokens_never_repeat, "DOUBLE-EFFECT", 1},
	{"pin at PRE_COMMIT", Guard::pin_at_pre_commit, "DOUBLE-EFFECT"},
	{"second check at PRE_COMMIT", Guard::check_again_at_pre_commit, "DOUBLE-EFFECT"},
	{"pinned cannot expire", Guard::pinned_cannot_expire, "DOUBLE-EFFECT"},
	{"expiry owns the jobs before it writes", Guard::expiry_owns_before_it_writes, "DOUBLE-EFFECT"},
	{"expiry has a token of its own", Guard::expiry_has_a_token_of_its_own, "DOUBLE-EFFECT"},
	{"an aborted expiry is tried again", Guard::expiry_aborts_to_lost, "LOST"},
	{"unpin on abort", Guard::unpin_on_abort, "LOST"},
	{"jobs leave the lease at COMMIT, not earlier", Guard::leave_the_lease_at_commit, "ATTEMPT-NOT-COUNTED"},
	{"expired jobs leave at COMMIT, not earlier", Guard::expired_leave_at_commit, "ATTEMPT-NOT-COUNTED"},
	{"PROVISIONAL until rows are returned", Guard::provisional_until_handed_over, "COUNTED-BUT-NOT-DELIVERED"},
	{"an aborted claim gives back", Guard::abort_gives_a_provisional_lease_back, "LOST"},
	{"LOST, if rows were returned", Guard::abort_loses_a_held_lease, "ATTEMPT-NOT-COUNTED"},
	{"loses only its own lease", Guard::lose_only_ones_own, "DOUBLE-EFFECT"},
	{"releases only its own jobs", Guard::release_only_ones_own, "DOUBLE-EFFECT"},
	{"outcomes at the rebuild", Guard::outcomes_at_rebuild, "REVIVED", 1},
	{"histories at the rebuild", Guard::history_at_rebuild, "DOUBLE-EFFECT", 1},
	{"durable id ceiling", Guard::numbering_goes_on_at_the_ceiling, "ID-GIVEN-TWICE", 1, 2},
	{"purge seizes before it writes", Guard::purge_seizes, "REVIVED"},
	{"purge restores on abort", Guard::purge_restores_on_abort, "LOST"},
	{"cancel checks again at PRE_COMMIT", Guard::cancel_checks_again_at_pre_commit, "REVIVED", 0, 1, true},
	{"cancel pins", Guard::cancel_pins, "REVIVED", 0, 1, true},
	{"cancel unpins on abort", Guard::cancel_unpins_on_abort, "LOST", 0, 1, true},
	{"no ack of a whole lease if a job was cancelled", Guard::whole_leases_are_not_acked_if_cancelled,
	 "CANCELLED-BUT-DONE", 0, 2, true},
	{"… cancellations known from PRE_COMMIT on", Guard::cancelled_is_known_from_pre_commit_on, "CANCELLED-BUT-DONE", 0,
	 2, true},
};

struct WithoutDue
{
	char const *name;
	DueGuard removed;
	char const *expected;
	int sessions = 1;
};

constexpr WithoutDue without_due[] = {
	{"watermark before the read", DueGuard::watermark_rises_before_the_read, "WAITS-FOR-EVER"},
	{"callback compares with the watermark", DueGuard::callback_compares_with_the_watermark, "WAITS-FOR-EVER"},
	{"… in the same hold", DueGuard::compares_in_the_same_hold, "WAITS-FOR-EVER"},
	{"promote only from waiting", DueGuard::promotes_only_from_waiting, "TWO-HOLDERS"},
	{"claim checks the due time", DueGuard::claim_checks_the_due_time, "EARLY"},
	{"settling compares again", DueGuard::settle_compares_again, "WAITS-FOR-EVER"},
	{"a commit notes its due time", DueGuard::commit_notes_the_due_time, "WAITS-FOR-EVER"},
	{"earliest reset before the read", DueGuard::earliest_is_reset_before_the_read, "WAITS-FOR-EVER"},
	{"a restored job is looked for again", DueGuard::restored_are_looked_for_again, "WAITS-FOR-EVER"},
	{"a look disturbed does not end it", DueGuard::only_the_last_look_ends_it, "WAITS-FOR-EVER"},
	{"a failed look is repeated", DueGuard::failed_looks_are_repeated, "WAITS-FOR-EVER"},
};

template <typename Options>
struct Without
{
	char const *name;
	decltype(Options::removed) removed;
	char const *expected;
};

constexpr Without<SegmentOptions> without_segment[] = {
	{"reserved ids are live", SegmentGuard::reserved_ids_are_live, "FORGOTTEN-ALIVE"},
	{"leased ids are live", SegmentGuard::leased_ids_are_live, "FORGOTTEN-ALIVE"},
	{"seized ids are live", SegmentGuard::seized_ids_are_live, "FORGOTTEN-ALIVE"},
	{"sealed before it is drained", SegmentGuard::only_sealed_segments_are_drained, "FORGOTTEN-ALIVE"},
	{"flagged under the lock", SegmentGuard::drained_under_the_lock, "FORGOTTEN-ALIVE"},
	{"a redrive takes the lock first", SegmentGuard::redrive_takes_the_lock_first, "FORGOTTEN-ALIVE"},
};

constexpr Without<JournalOptions> without_journal[] = {
	{"attempt compared", JournalGuard::attempts_are_compared, "OLDER-LEASE-RESTORED"},
	{"finished jobs dropped", JournalGuard::finished_jobs_are_dropped, "REVIVED"},
	{"release waits for the journal", JournalGuard::release_waits_for_the_journal, "OLDER-LEASE-RESTORED"},
	{"marked before it is written", JournalGuard::marked_before_it_is_written, "OLDER-LEASE-RESTORED"},
	{"an aborted claim waits, too", JournalGuard::aborted_claims_wait_too, "OLDER-LEASE-RESTORED"},
};

constexpr Without<AuditOptions> without_audit[] = {
	{"owned jobs are passed over", AuditGuard::owned_jobs_are_passed_over, "TWO-HOLDERS"},
	{"seizes before it reads", AuditGuard::seizes_before_it_reads, "REVIVED"},
	{"restores on abort", AuditGuard::restores_on_abort, "LOST"},
};

constexpr Without<KeyOptions> without_key[] = {
	{"lower jobs are checked", KeyGuard::lower_jobs_are_checked, "TOO-EARLY"},
	{"rows are read when the key is owned", KeyGuard::rows_are_read_when_the_key_is_owned, "TOO-EARLY"},
	{"the end puts the key on the list", KeyGuard::the_end_puts_the_key_on_the_list, "STUCK"},
	{"a walk that was overtaken raises nothing", KeyGuard::a_walk_that_was_overtaken_raises_nothing, "TOO-EARLY"},
	{"a look that fails is repeated", KeyGuard::a_look_that_fails_is_repeated, "STUCK"},
};

template <typename Options, std::size_t size>
void
add_each(std::vector<Variant> &variants, char const *model, Without<Options> const (&list)[size])
{
	for (Without<Options> const &without : list)
		variants.push_back({std::string(model) + " without: " + without.name, without.expected, [&without] {
								Options options;
								options.removed = without.removed;
								return explore(options);
							}});
}

void
add_without(std::vector<Variant> &variants)
{
	for (WithoutDelivery const &without : without_delivery)
		variants.push_back({std::string("delivery without: ") + without.name, without.expected, [&without] {
								DeliveryOptions options;
								options.producers = options.jobs = without.jobs;
								options.crashes = without.crashes;
								options.removed = without.removed;
								options.cancel = without.cancel;
								options.purge = !without.cancel;
								options.share = !without.cancel;
								options.count = without.cancel ? without.jobs : 1;
								options.claimers = without.cancel && without.jobs == 2 ? 1 : options.claimers;
								return explore(options);
							}});
	for (WithoutDue const &without : without_due)
		variants.push_back({std::string("due without: ") + without.name, without.expected, [&without] {
								DueOptions options;
								options.sessions = without.sessions;
								options.crashes = 0;
								options.removed = without.removed;
								return explore(options);
							}});
	add_each(variants, "segment", without_segment);
	add_each(variants, "journal", without_journal);
	add_each(variants, "audit", without_audit);
	add_each(variants, "keys", without_key);
}

// Runs a variant and prints its line; false: not as expected.
bool
report(Variant const &variant, bool verbose, std::size_t &states)
{
	Result const result = variant.run();
	bool const expected = result.violation == variant.expected;
	// Pads by characters: names may hold "…".
	auto const continuation = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
	int const extra = static_cast<int>(std::count_if(variant.name.begin(), variant.name.end(), continuation));
	std::printf("%-*s states=%8zu edges=%9zu %5.1f s  %s%s%s\n", 62 + extra, variant.name.c_str(), result.states,
				result.edges, result.seconds, result.violation.empty() ? "OK" : "VIOLATES ", result.violation.c_str(),
				expected ? "" : "  UNEXPECTED");
	if (!expected || verbose)
		for (std::string const &step : result.steps)
			std::printf("        %s\n", step.c_str());
	std::fflush(stdout);
	states += result.states;
	return expected;
}

bool
is_wanted(std::string const &name, std::vector<std::string> const &parts)
{
	for (std::string const &part : parts)
		if (name.find(part) != std::string::npos)
			return true;
	return parts.empty();
}

int
run(std::vector<std::string> const &parts, bool verbose)
{
	std::vector<Variant> variants;
	add_full(variants);
	std::size_t const full = variants.size();
	add_without(variants);
	int runs = 0;
	int guards = 0;
	int unexpected = 0;
	std::size_t states = 0;
	for (std::size_t i = 0; i < variants.size(); i++)
	{
		if (!is_wanted(variants[i].name, parts))
			continue;
		runs++;
		guards += i >= full;
		unexpected += !report(variants[i], verbose, states);
	}
	std::printf("explorer: %d variants, %d of them with a guard removed, %zu states, %d unexpected\n", runs, guards,
				states, unexpected);
	return unexpected == 0 && runs > 0 ? 0 : 1;
}

} // namespace
} // namespace onceq::explorer

int
main(int count, char **arguments)
{
	std::vector<std::string> parts(arguments + 1, arguments + count);
	bool const verbose = std::erase(parts, "-v") > 0;
	return onceq::explorer::run(parts, verbose);
}
