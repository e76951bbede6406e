// SPDX-License-Identifier: Apache-2.0
#include "adapters/sqlite/sqlite_database.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fieldgate::sqlite {
namespace {

class Row final : public store::RowView {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  std::int64_t integer(int column) const override { return ::sqlite3_column_int64(statement_, column); }
  std::string_view text(int column) const override {
    const auto* text = reinterpret_cast<const char*>(::sqlite3_column_text(statement_, column));
    return {text, static_cast<std::size_t>(::sqlite3_column_bytes(statement_, column))};
  }
  std::span<const std::byte> bytes(int column) const override {
    const auto* bytes = static_cast<const std::byte*>(::sqlite3_column_blob(statement_, column));
    return {bytes, static_cast<std::size_t>(::sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* statement_;
};

// `in_use`: it has been opened. A file that is damaged, or not ours any more, is then a store that
// is away: what was to be written is not to blame.
Errc condition(int code, bool in_use) {
  switch (code & 0xFF) {
    case SQLITE_CONSTRAINT: {
      const bool taken =
          code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_ROWID;
      return taken ? Errc::conflict : Errc::internal;
    }
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return in_use ? Errc::unavailable : Errc::malformed;
    case SQLITE_ERROR:
    case SQLITE_SCHEMA: return in_use ? Errc::unavailable : Errc::internal;
    case SQLITE_TOOBIG: return Errc::too_large;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_NOMEM: return Errc::unavailable;
    default: return Errc::internal;
  }
}

// What SQLite's own words do not say.
std::string_view advice(int code) {
  switch (code & 0xFF) {
    case SQLITE_BUSY: return "; in use by another process: stop that one first, or give each a store.file of its own";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return ": the file is damaged: stop the gateway and restore the file from a backup, with its -wal "
             "(docs/store.md)";
    case SQLITE_FULL: return ": make room on its disk";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return ": the file and its directory must be there, and writable for this user";
    default: return "";
  }
}

}  // namespace

SqliteDatabase::SqliteDatabase(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock) {}

std::string SqliteDatabase::description() const { return "sqlite " + path_; }

Error SqliteDatabase::error(int code) const {
  std::string text = "store " + path_ + ": " + ::sqlite3_errmsg(connection_.get());
  const int cause = ::sqlite3_system_errno(connection_.get());
  const bool of_system = (code & 0xFF) == SQLITE_IOERR || (code & 0xFF) == SQLITE_CANTOPEN;
  if (of_system && cause != 0) text += " (" + std::error_code(cause, std::generic_category()).message() + ")";
  return make_error(condition(code, opened_), text + std::string(advice(code)));
}

Result<void> SqliteDatabase::begin() {
  if (!opened_) {
    if (auto done = open(); !done) return done;
  }
  return execute("BEGIN IMMEDIATE");
}

Result<void> SqliteDatabase::commit() { return execute("COMMIT"); }

void SqliteDatabase::rollback() noexcept {
  if (connection_ == nullptr || ::sqlite3_get_autocommit(connection_.get()) != 0) return;
  ::sqlite3_exec(connection_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<void> SqliteDatabase::execute(const char* sql) {
  const int code = ::sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Result<void>() : error(code);
}

Result<std::int64_t> SqliteDatabase::ask(const char* sql) {
  auto statement = prepare(sql, 0);
  if (!statement) return statement.error();
  const int code = ::sqlite3_step(statement->get());
  if (code != SQLITE_ROW) return error(code);
  return ::sqlite3_column_int64(statement->get(), 0);
}

Result<Prepared> SqliteDatabase::prepare(std::string sql, unsigned flags) {
  // PostgreSQL's $1 is a name for SQLite, its ?1 a number.
  std::ranges::replace(sql, '$', '?');
  sqlite3_stmt* statement = nullptr;
  const int code =
      ::sqlite3_prepare_v3(connection_.get(), sql.data(), static_cast<int>(sql.size()), flags, &statement, nullptr);
  if (code != SQLITE_OK) return error(code);
  return Prepared(statement);
}

Result<sqlite3_stmt*> SqliteDatabase::prepared(const store::Statement& statement) {
  const auto known = statements_.find(&statement);
  if (known != statements_.end()) return known->second.get();
  auto made = prepare(std::string(statement.sql), SQLITE_PREPARE_PERSISTENT);
  if (!made) return made.error();
  return statements_.emplace(&statement, std::move(*made)).first->second.get();
}

Result<void> SqliteDatabase::bind(sqlite3_stmt* statement, const store::Params& params) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    const int at = static_cast<int>(i) + 1;
    int code = SQLITE_OK;
    if (const auto* integer = std::get_if<std::int64_t>(&params[i])) {
      code = ::sqlite3_bind_int64(statement, at, *integer);
    } else if (const auto* text = std::get_if<std::string_view>(&params[i])) {
      // Never nullptr, which would bind NULL.
      code = ::sqlite3_bind_text64(statement, at, text->empty() ? "" : text->data(), text->size(), SQLITE_STATIC,
                                   SQLITE_UTF8);
    } else {
      const auto bytes = std::get<std::span<const std::byte>>(params[i]);
      const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
      code = ::sqlite3_bind_blob64(statement, at, data, bytes.size(), SQLITE_STATIC);
    }
    if (code != SQLITE_OK) return error(code);
  }
  return {};
}

Result<std::size_t> SqliteDatabase::step(sqlite3_stmt* statement, std::size_t index, const store::OnRow& on_row) {
  std::size_t rows = 0;
  int code = 0;
  while ((code = ::sqlite3_step(statement)) == SQLITE_ROW) {
    ++rows;
    if (!on_row) continue;
    if (auto taken = on_row(index, Row(statement)); !taken) return taken.error();
  }
  if (code != SQLITE_DONE) return error(code);
  if (::sqlite3_column_count(statement) > 0) return rows;
  return static_cast<std::size_t>(::sqlite3_changes64(connection_.get()));
}

Result<std::size_t> SqliteDatabase::run(std::span<const store::Call> calls, const store::OnRow& on_row) {
  if (!opened_) return make_error(Errc::unavailable, "store " + path_ + ": is not open");
  std::size_t rows = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    auto statement = prepared(*calls[i].statement);
    if (!statement) return statement.error();
    Result<std::size_t> done = std::size_t{0};
    if (auto bound = bind(*statement, calls[i].params); !bound) {
      done = bound.error();
    } else {
      done = step(*statement, i, on_row);
    }
    ::sqlite3_reset(*statement);
    ::sqlite3_clear_bindings(*statement);
    if (!done) return done;
    rows += *done;
  }
  return rows;
}

Result<std::string> SqliteDatabase::explain(const store::Call& call) {
  if (!opened_) return make_error(Errc::unavailable, "store " + path_ + ": is not open");
  auto statement = prepare("EXPLAIN QUERY PLAN " + std::string(call.statement->sql), 0);
  if (!statement) return statement.error();
  if (auto bound = bind(statement->get(), call.params); !bound) return bound.error();
  std::string plan;
  constexpr int k_detail = 3;
  const auto done = step(statement->get(), 0, [&](std::size_t, const store::RowView& row) -> Result<void> {
    plan += (plan.empty() ? "" : "; ") + row.string(k_detail);
    return {};
  });
  if (!done) return done.error();
  return plan;
}

}  // namespace fieldgate::sqlite
