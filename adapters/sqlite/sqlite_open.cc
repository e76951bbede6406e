// SPDX-License-Identifier: Apache-2.0
#include "adapters/sqlite/sqlite_database.h"
#include "adapters/sqlite/sqlite_store.h"
#include "adapters/store/schema.h"
#include "adapters/store/sql_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace fieldgate::sqlite {
namespace {

constexpr std::string_view k_in_memory = ":memory:";
// For the moments in which a tool has the file; nobody else may for longer.
constexpr int k_busy_ms = 1'000;

constexpr store::Dialect k_dialect{.integer = "INTEGER",
                                   .text = "TEXT",
                                   .blob = "BLOB",
                                   .serial = "INTEGER PRIMARY KEY AUTOINCREMENT",
                                   .rows = " STRICT",
                                   .keyed = " STRICT, WITHOUT ROWID",
                                   .busy = " STRICT, WITHOUT ROWID"};

constexpr const char* k_configuration =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA journal_size_limit = 16777216;";  // of the log, once it has been taken over

void unix_ms(sqlite3_context* context, int, sqlite3_value**) {
  const auto* clock = static_cast<const Clock*>(::sqlite3_user_data(context));
  ::sqlite3_result_int64(context, clock->unix_ms());
}

// The parts of a SQLite file's first 100 bytes that say whose it is
// (https://www.sqlite.org/fileformat.html, section 1.3).
struct Header {
  std::array<unsigned char, 100> bytes{};
  bool is_sqlite() const { return std::memcmp(bytes.data(), "SQLite format 3", 16) == 0; }
  std::uint32_t at(std::size_t offset) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8U | bytes[offset + i];
    return value;
  }
  std::uint32_t user_version() const { return at(60); }
  std::uint32_t application_id() const { return at(68); }
};

// With the mode that SQLite gives to what it makes beside it, too.
void make_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) ::close(fd);  // otherwise it is there, or SQLite will say why it cannot be
}

Error newer(const std::string& path, std::uint32_t version) {
  return make_error(Errc::unsupported, "store " + path + ": has version " + std::to_string(version) +
                                           ", made by a newer gateway; this one knows up to " +
                                           std::to_string(store::schema_version()));
}

}  // namespace

Result<void> SqliteDatabase::open() {
  if (opened_) return {};
  auto done = connect();
  if (!done) {
    statements_.clear();
    connection_.reset();
  }
  opened_ = done.has_value();
  return done;
}

Result<void> SqliteDatabase::connect() {
  if (path_ != k_in_memory) make_file(path_);
  sqlite3* connection = nullptr;
  constexpr int k_flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = ::sqlite3_open_v2(path_.c_str(), &connection, k_flags, nullptr);
  connection_.reset(connection);
  if (code != SQLITE_OK) return error(code);
  if (::sqlite3_db_readonly(connection, "main") == 1) return error(SQLITE_READONLY);
  ::sqlite3_busy_timeout(connection, k_busy_ms);
  // Until it is known to be ours, nothing of its write-ahead log is moved into it.
  ::sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (auto checked = check_file(); !checked) return checked;
  return configure();
}

Result<void> SqliteDatabase::check_file() {
  if (path_ == k_in_memory) return {};
  sqlite3_file* file = nullptr;
  int code = ::sqlite3_file_control(connection_.get(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
  if (code != SQLITE_OK) return error(code);
  sqlite3_int64 bytes = 0;
  if (code = file->pMethods->xFileSize(file, &bytes); code != SQLITE_OK) return error(code);
  if (bytes == 0) return {};
  Header header;
  code = file->pMethods->xRead(file, header.bytes.data(), static_cast<int>(header.bytes.size()), 0);
  if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return error(code);
  if (!header.is_sqlite() || header.application_id() != k_application_id) {
    return make_error(Errc::malformed, "store " + path_ + ": is not a store of this gateway; it is left as it is: " +
                                           "name another store.file, or move it away");
  }
  if (header.user_version() > store::schema_version()) return newer(path_, header.user_version());
  return {};
}

Result<void> SqliteDatabase::configure() {
  sqlite3* const connection = connection_.get();
  if (auto done = execute(k_configuration); !done) return done;
  const int made = ::sqlite3_create_function_v2(connection, "store_unix_ms", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                                const_cast<Clock*>(&clock_), unix_ms, nullptr, nullptr, nullptr);
  if (made != SQLITE_OK) return error(made);
  // Takes the lock, and replays what a process that was killed left in the log.
  const auto version = ask("PRAGMA user_version");
  if (!version) return version.error();
  const auto found = static_cast<std::uint32_t>(*version);
  if (found > store::schema_version()) return newer(path_, found);
  if (auto done = migrate(found); !done) return done;
  if (auto done = execute("PRAGMA journal_mode = WAL"); !done) return done;
  ::sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  return {};
}

// Before a new file is in WAL mode: so its header says what it is from its first commit on.
Result<void> SqliteDatabase::migrate(std::uint32_t found) {
  // Also when nothing is to be done: it makes sure that nobody else has the file.
  if (auto done = execute("BEGIN EXCLUSIVE"); !done) return done;
  std::string sql;
  for (std::uint32_t version = found; version < store::schema_version(); ++version) {
    sql += store::rendered(store::migrations()[version], k_dialect);
  }
  if (found == 0) sql += "PRAGMA application_id = " + std::to_string(k_application_id) + ";";
  sql += "PRAGMA user_version = " + std::to_string(store::schema_version()) + ";";
  auto done = found == store::schema_version() ? Result<void>() : execute(sql.c_str());
  if (done) done = execute("COMMIT");
  if (!done) rollback();
  return done;
}

std::unique_ptr<DeviceStore> make_sqlite_store(std::string path, const Clock& clock) {
  return std::make_unique<store::SqlStore>(std::make_unique<SqliteDatabase>(std::move(path), clock));
}

}  // namespace fieldgate::sqlite
