// SPDX-License-Identifier: PostgreSQL
#include "explorer.hpp"

namespace onceq::explorer {

namespace {

void
replace(std::string &text, std::string const &what, std::string const &by)
{
	if (std::size_t const at = text.find(what); at != std::string::npos)
		text.replace(at, what.size(), by);
}

} // namespace

std::string
Label::to_string() const
{
	std::string result = text;
	replace(result, "{w}", std::to_string(who + 1));
	replace(result, "{j}", std::to_string(job + 1));
	return result;
}

} // namespace onceq::explorer
