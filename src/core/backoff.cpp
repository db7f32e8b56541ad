// SPDX-License-Identifier: PostgreSQL
#include "core/backoff.hpp"

#ifdef POSTGRES_H
#error "core/ knows nothing of PostgreSQL"
#endif

#include <algorithm>
#include <cmath>

namespace onceq::core {

Microseconds
backoff_delay(Backoff const &backoff, int failed_attempts, double random) noexcept
{
	if (backoff.base <= 0)
		return 0; // and not nothing times infinity, which is no number
	double const max = static_cast<double>(backoff.max);
	double const grown = static_cast<double>(backoff.base) * std::pow(backoff.factor, std::max(failed_attempts, 1) - 1);
	double const capped = std::min(grown, max);
	double const spread = capped * (1 + backoff.jitter * (2 * random - 1));
	// Compared before the conversion, which is defined only for what fits.
	return spread < max ? static_cast<Microseconds>(std::max(spread, 0.0)) : backoff.max;
}

} // namespace onceq::core
