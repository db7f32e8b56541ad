// SPDX-License-Identifier: PostgreSQL
// Proves which names a queue may have.
#include "core/queue_name.hpp"

#include <gtest/gtest.h>

#include <string>

namespace onceq::core::test {
namespace {

TEST(queue_name, accepts_lower_case_names)
{
	for (char const *const name : {"a", "z", "mail", "mail-2", "a.b_c-d", "x0", "a-", "a.", "a_"})
		EXPECT_TRUE(is_queue_name(name)) << name;
}

TEST(queue_name, refuses_everything_else)
{
	for (char const *const name : {"",    "A",   "Mail", "0a", "_a",  "-a",  ".a",  "a b", " a",  "a ", "a/b", "a\"b",
								   "a'b", "a;b", "ä",    "aß", "a\n", "a\t", "a$b", "a%",  "a\\", "a{", "`a",  "a@"})
		EXPECT_FALSE(is_queue_name(name)) << name;
	EXPECT_FALSE(is_queue_name(std::string_view("a\0b", 3)));
}

TEST(queue_name, every_byte_is_accepted_where_it_should_be)
{
	for (int byte = 0; byte < 256; byte++)
	{
		auto const c = static_cast<char>(byte);
		bool const letter = byte >= 'a' && byte <= 'z';
		bool const inner = letter || (byte >= '0' && byte <= '9') || c == '_' || c == '.' || c == '-';
		EXPECT_EQ(is_queue_name(std::string(1, c)), letter) << byte;
		EXPECT_EQ(is_queue_name(std::string("q") + c), inner) << byte;
	}
}

TEST(queue_name, has_at_most_63_bytes)
{
	EXPECT_TRUE(is_queue_name(std::string(63, 'q')));
	EXPECT_FALSE(is_queue_name(std::string(64, 'q')));
	EXPECT_FALSE(is_queue_name(std::string(100'000, 'q')));
}

} // namespace
} // namespace onceq::core::test
