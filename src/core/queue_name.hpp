// SPDX-License-Identifier: PostgreSQL
// What a queue may be called: a lower-case letter, then letters, digits, '_', '.', '-'; 63 bytes at most.
// The name is data and never becomes an identifier.
#pragma once

#include <string_view>

namespace onceq::core {

inline constexpr int queue_name_length_max = 63;

constexpr bool
is_queue_name(std::string_view name) noexcept
{
	if (name.empty() || name.size() > queue_name_length_max || name[0] < 'a' || name[0] > 'z')
		return false;
	for (char const c : name)
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'))
			return false;
	return true;
}

} // namespace onceq::core
