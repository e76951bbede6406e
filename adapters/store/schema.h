// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace fieldgate::store {

// How an engine says what the schema needs.
struct Dialect {
  std::string_view integer;  // 64 bit
  std::string_view text;     // UTF-8, in the order of its bytes
  std::string_view blob;
  std::string_view serial;  // primary key that the engine numbers, rising, never used twice
  std::string_view rows;    // after a table's columns: a table in the order of its numbers
  std::string_view keyed;   // the same: a table in the order of its primary key
  std::string_view busy;    // the same: one whose rows are changed all the time
};

// The schema's steps, oldest first: the first makes version 1 from nothing, and so on.
// What is once released is never changed; a new version adds a step.
std::span<const std::string_view> migrations() noexcept;
std::uint32_t schema_version() noexcept;

// A step in the engine's words: SQL statements, each ended by a semicolon.
std::string rendered(std::string_view migration, const Dialect& dialect);

}  // namespace fieldgate::store
