// SPDX-License-Identifier: Apache-2.0
#include "adapters/postgres/postgres_store.h"

#include "adapters/postgres/connection.h"
#include "adapters/store/schema.h"
#include "adapters/store/sql_store.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace fieldgate::postgres {
namespace {

using std::chrono::milliseconds;

// How long the server has, beyond its own timeout, to say that a statement took too long.
constexpr milliseconds k_grace{1'000};
// A change of the schema may rewrite a table.
constexpr milliseconds k_migration{600'000};
// "FGst": who changes the schema holds this advisory lock.
constexpr std::int64_t k_migration_lock = 0x46477374;

constexpr store::Dialect k_dialect{.integer = "BIGINT",
                                   .text = "TEXT COLLATE \"C\"",
                                   .blob = "BYTEA",
                                   .serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                                   .rows = "",
                                   .keyed = "",
                                   .busy = " WITH (fillfactor = 80)"};

constexpr std::string_view k_beginnings =
    "CREATE TABLE store_version (version BIGINT NOT NULL);"
    "INSERT INTO store_version VALUES (0);"
    "CREATE FUNCTION store_unix_ms() RETURNS BIGINT LANGUAGE sql VOLATILE AS "
    "'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint';";

class PostgresDatabase final : public store::Database {
 public:
  PostgresDatabase(StoreSettings settings, std::string description)
      : settings_(std::move(settings)),
        description_(std::move(description)),
        connection_(milliseconds(settings_.statement_timeout) + k_grace) {}

  Result<void> open() override { return connection_.is_open() ? Result<void>() : connect(); }
  Result<void> begin() override;
  Result<void> commit() override;
  void rollback() noexcept override;
  void interrupt() noexcept override { connection_.interrupt(); }
  Result<std::size_t> run(std::span<const store::Call> calls, const store::OnRow& on_row) override {
    return connection_.run(calls, on_row);
  }
  Result<std::string> explain(const store::Call& call) override { return connection_.explain(call); }
  std::string description() const override { return description_; }

 private:
  // What the server has of the schema.
  struct Found {
    bool schema = false;
    bool store = false;   // ours
    bool others = false;  // something else in it
    std::uint32_t version = 0;
  };

  Result<void> connect();
  Result<std::string> password() const;
  Result<void> set_up_session();
  Result<Found> look();
  Result<void> bring_up_to_date();
  Result<void> migrate();

  const StoreSettings settings_;
  const std::string description_;
  Connection connection_;
};

Result<void> PostgresDatabase::begin() {
  if (connection_.is_open()) {
    const auto begun = connection_.execute("BEGIN");
    if (begun) return {};
    // A connection that went away while nobody used it is made anew at once; a server
    // that does not answer has used up its time.
    if (connection_.is_open()) return begun.error();
  }
  if (auto connected = connect(); !connected) return connected;
  const auto begun = connection_.execute("BEGIN");
  return begun ? Result<void>() : begun.error();
}

Result<void> PostgresDatabase::commit() {
  const auto committed = connection_.execute("COMMIT");
  if (!committed) return committed.error();
  // A transaction in which something failed is rolled back by COMMIT, without an error.
  if (std::string_view(::PQcmdStatus(committed->get())) == "COMMIT") return {};
  return make_error(Errc::internal, "store: PostgreSQL: the transaction had failed");
}

void PostgresDatabase::rollback() noexcept {
  if (!connection_.is_open()) return;
  if (!connection_.execute("ROLLBACK")) connection_.close();
}

Result<std::string> PostgresDatabase::password() const {
  if (settings_.password_file.empty()) return settings_.password.value;
  std::ifstream file(settings_.password_file, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    return make_error(Errc::unavailable, "store.password_file: " + settings_.password_file + ": cannot be read");
  }
  std::string secret = std::move(text).str();
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  return secret;
}

Result<void> PostgresDatabase::connect() {
  auto secret = password();
  if (!secret) return secret.error();
  const auto network = std::to_string(milliseconds(settings_.statement_timeout).count());
  // What comes before "dbname" can be set otherwise in the connection string.
  std::vector<std::pair<std::string, std::string>> parameters{{"connect_timeout", "5"},
                                                              {"keepalives", "1"},
                                                              {"keepalives_idle", "30"},
                                                              {"keepalives_interval", "10"},
                                                              {"keepalives_count", "3"},
                                                              {"tcp_user_timeout", network},
                                                              {"target_session_attrs", "read-write"},
                                                              {"fallback_application_name", "fieldgate"},
                                                              {"dbname", settings_.connection},
                                                              {"client_encoding", "UTF8"}};
  if (!secret->empty()) parameters.emplace_back("password", std::move(*secret));
  if (auto connected = connection_.connect(parameters); !connected) return connected;
  auto done = set_up_session();
  if (done) done = bring_up_to_date();
  if (!done) connection_.close();
  return done;
}

Result<void> PostgresDatabase::set_up_session() {
  const auto timeout = milliseconds(settings_.statement_timeout).count();
  const std::string sql = "SET statement_timeout = " + std::to_string(timeout) +
                          "; SET idle_in_transaction_session_timeout = " + std::to_string(timeout / 2) +
                          "; SET standard_conforming_strings = on; SET search_path = fieldgate";
  const auto done = connection_.execute(sql);
  return done ? Result<void>() : done.error();
}

Result<PostgresDatabase::Found> PostgresDatabase::look() {
  auto answer = connection_.execute(
      "SELECT to_regnamespace('fieldgate') IS NOT NULL, to_regclass('fieldgate.store_version') IS NOT NULL, "
      "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('fieldgate'))");
  if (!answer) return answer.error();
  const auto is_true = [&](int column) { return *::PQgetvalue(answer->get(), 0, column) == 't'; };
  Found found{.schema = is_true(0), .store = is_true(1), .others = is_true(2) && !is_true(1)};
  if (!found.store) return found;
  answer = connection_.execute("SELECT version FROM fieldgate.store_version");
  if (!answer) return answer.error();
  if (::PQntuples(answer->get()) != 1) return make_error(Errc::malformed, "store: PostgreSQL: has no version");
  const std::string_view version = ::PQgetvalue(answer->get(), 0, 0);
  std::from_chars(version.data(), version.data() + version.size(), found.version);
  return found;
}

Result<void> PostgresDatabase::bring_up_to_date() {
  auto found = look();
  if (!found) return found.error();
  if (found->version == store::schema_version()) return {};
  auto done = connection_.execute("BEGIN; SELECT pg_advisory_xact_lock(" + std::to_string(k_migration_lock) + ")");
  auto migrated = done ? migrate() : Result<void>(done.error());
  if (migrated) migrated = commit();
  if (!migrated) rollback();
  return migrated;
}

Result<void> PostgresDatabase::migrate() {
  const auto found = look();  // another node may have done it meanwhile
  if (!found) return found.error();
  if (found->others) {
    return make_error(Errc::malformed,
                      "store: PostgreSQL: the schema fieldgate of this database is something else's; it is left as it "
                      "is: name another database in store.connection");
  }
  if (found->version > store::schema_version()) {
    return make_error(Errc::unsupported, "store: PostgreSQL: has version " + std::to_string(found->version) +
                                             ", made by a newer gateway; this one knows up to " +
                                             std::to_string(store::schema_version()));
  }
  std::string sql = "SET LOCAL statement_timeout = " + std::to_string(k_migration.count()) + ";";
  if (!found->schema) sql += "CREATE SCHEMA fieldgate;";
  if (!found->store) sql += k_beginnings;
  for (std::uint32_t version = found->version; version < store::schema_version(); ++version) {
    sql += store::rendered(store::migrations()[version], k_dialect);
  }
  sql += "UPDATE store_version SET version = " + std::to_string(store::schema_version());
  const auto done = connection_.execute(sql, k_migration + k_grace);
  return done ? Result<void>() : done.error();
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const noexcept { ::PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

std::string option(const Options& options, std::string_view keyword) {
  for (const PQconninfoOption* at = options.get(); at->keyword != nullptr; ++at) {
    if (at->keyword == keyword) return at->val == nullptr ? "" : at->val;
  }
  return "";
}

// "postgres HOST/DATABASE".
std::string describe(const Options& options) {
  std::string host = option(options, "host");
  if (host.empty()) host = option(options, "hostaddr");
  if (host.empty()) host = "local";
  std::string database = option(options, "dbname");
  if (database.empty()) database = option(options, "user");
  return "postgres " + host + "/" + database;
}

}  // namespace

Result<std::unique_ptr<DeviceStore>> make_postgres_store(const StoreSettings& settings) {
  char* complaint = nullptr;
  const Options options(::PQconninfoParse(settings.connection.c_str(), &complaint));
  ::PQfreemem(complaint);  // not shown: it may repeat a part of the string that was meant as a password
  if (options == nullptr) {
    return make_error(
        Errc::invalid_argument,
        "store.connection: is neither a libpq connection string (host=db dbname=fieldgate user=fieldgate) "
        "nor a URI (postgresql://fieldgate@db/fieldgate)");
  }
  if (!option(options, "password").empty()) {
    return make_error(Errc::invalid_argument,
                      "store.connection: has a password in it: say it in store.password or store.password_file");
  }
  return std::unique_ptr<DeviceStore>(
      std::make_unique<store::SqlStore>(std::make_unique<PostgresDatabase>(settings, describe(options))));
}

}  // namespace fieldgate::postgres
