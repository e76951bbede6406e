// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fieldgate::store {

// A parameter of a statement. Texts and bytes are borrowed for the call. Texts are UTF-8
// without zero bytes: see clean_text() and key_text().
using Value = std::variant<std::int64_t, std::string_view, std::span<const std::byte>>;
using Params = std::vector<Value>;

// A number that is compared: what no column can hold becomes the largest that it can.
inline Value number(std::uint64_t value) {
  constexpr std::uint64_t k_max = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(value < k_max ? value : k_max);
}
// A number that is only kept, all 64 bits of it.
inline Value bits(std::uint64_t value) { return static_cast<std::int64_t>(value); }
inline Value flag(bool value) { return std::int64_t{value}; }

// SQL that SQLite and PostgreSQL both understand, with $1, $2 ... for parameters, each of
// them always of the same type. Known by its address: keep it where it stays.
struct Statement {
  std::string_view sql;
  // A query: nobody else changes the rows it found until the transaction ends.
  bool lock_rows = false;
};

// A statement to be executed with these parameters.
struct Call {
  const Statement* statement = nullptr;
  Params params{};
};

// One row of an answer; columns from 0, none of them ever NULL. Valid in the callback alone.
class RowView {
 public:
  virtual ~RowView() = default;
  virtual std::int64_t integer(int column) const = 0;
  virtual std::string_view text(int column) const = 0;
  virtual std::span<const std::byte> bytes(int column) const = 0;

  std::uint64_t number(int column) const { return static_cast<std::uint64_t>(integer(column)); }
  bool flag(int column) const { return integer(column) != 0; }
  std::string string(int column) const { return std::string(text(column)); }
};

// A row, and the index of the call that it answers. An error ends the run with it.
using OnRow = std::function<Result<void>(std::size_t index, const RowView& row)>;

// A connection to a database engine, in whose words the store is written once.
// Thread: the one that opened it. Every member waits.
// Errors: Errc::unavailable, Errc::conflict (a unique key is taken), Errc::timed_out (in
//         the way of another's transaction: to be tried again), Errc::malformed,
//         Errc::internal; Errc::unsupported from open().
class Database {
 public:
  virtual ~Database() = default;
  // Connects, and brings the schema to k_schema_version.
  virtual Result<void> open() = 0;
  // Connects again, if it must, once opened.
  virtual Result<void> begin() = 0;
  virtual Result<void> commit() = 0;
  virtual void rollback() noexcept = 0;
  // As DeviceStore::interrupt().
  virtual void interrupt() noexcept {}
  // Executes the calls in order, all of them on one way to the engine and back. Returns
  // how many rows they changed, or found, in all.
  virtual Result<std::size_t> run(std::span<const Call> calls, const OnRow& on_row) = 0;
  // The plan of a statement, which is not executed; on one line.
  virtual Result<std::string> explain(const Call& call) = 0;
  virtual std::string description() const = 0;
};

}  // namespace fieldgate::store
