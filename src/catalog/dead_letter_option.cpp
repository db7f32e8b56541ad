// SPDX-License-Identifier: PostgreSQL
// What may be the dead letter queue of a queue.
#include <string_view>

#include "catalog/catalog.hpp"
#include "catalog/options.hpp"

namespace onceq::catalog {

namespace {

// More than anybody has a use for.
constexpr int queues_in_a_row_max = 100;

std::string_view
view_of(text const *value)
{
	return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

} // namespace

void
check_dead_letter_queue(text const *queue, Options const &options)
{
	text const *target = dead_letter_option(options);
	if (target == nullptr)
		return;
	if (Queue const *const found = find_live_queue(target); found != nullptr)
		require_privilege(*found, may_enqueue);
	for (int i = 0; target != nullptr && i < queues_in_a_row_max; i++)
	{
		if (view_of(target) == view_of(queue))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("dead jobs of queue \"%s\" would come back to it", text_to_cstring(queue)),
							errhint("Choose a queue whose own dead letters go elsewhere, or nowhere.")));
		Queue const *const found = find_live_queue(target);
		target = found != nullptr ? dead_letter_queue_of(found->id) : nullptr;
	}
}

} // namespace onceq::catalog
