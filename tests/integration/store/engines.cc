// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/engines.h"

#include "adapters/postgres/postgres_store.h"
#include "adapters/sqlite/sqlite_store.h"

#include <sqlite3.h>

#include <memory>
#include <stdexcept>

namespace fieldgate::store {

std::unique_ptr<DeviceStore> SqliteEngine::connect() { return sqlite::make_sqlite_store(path_, clock_); }

std::string SqliteEngine::ask(const std::string& sql) {
  sqlite3* connection = nullptr;
  ::sqlite3_open(path_.c_str(), &connection);
  const std::unique_ptr<sqlite3, int (*)(sqlite3*)> closed(connection, ::sqlite3_close);
  std::string answer;
  const auto keep = [](void* to, int columns, char** values, char**) {
    std::string& first = *static_cast<std::string*>(to);
    if (first.empty() && columns > 0 && values[0] != nullptr) first = values[0];
    return 0;
  };
  if (::sqlite3_exec(connection, sql.c_str(), keep, &answer, nullptr) != SQLITE_OK) {
    throw std::runtime_error(sql + ": " + ::sqlite3_errmsg(connection));
  }
  return answer;
}

bool SqliteEngine::reads_all(std::string_view plan) const {
  return plan.find("SCAN") != std::string_view::npos || plan.find("TEMP B-TREE") != std::string_view::npos;
}

PostgresEngine::PostgresEngine(PostgresServer& server) : server_(server), database_(server.make_database()) {}

StoreSettings PostgresEngine::settings() const {
  StoreSettings settings;
  settings.kind = StoreKind::postgres;
  settings.connection = server_.connection(database_);
  settings.password = {PostgresServer::k_password};
  return settings;
}

std::unique_ptr<DeviceStore> PostgresEngine::connect() { return postgres::make_postgres_store(settings()).value(); }

void PostgresEngine::analyze() { server_.ask(database_, "ANALYZE"); }

bool PostgresEngine::reads_all(std::string_view plan) const {
  return plan.find("Seq Scan") != std::string_view::npos || plan.find("Sort") != std::string_view::npos;
}

PostgresServer* shared_server(std::string& why) {
  if (!PostgresServer::is_installed()) {
    why = "Debian's package postgresql-15 is not installed: nothing of PostgreSQL is tested";
    return nullptr;
  }
  // One for all tests of the process, as each makes a database of its own.
  static const auto server = std::make_unique<PostgresServer>();
  return server.get();
}

std::unique_ptr<Engine> make_engine(EngineKind kind, const Clock& clock, std::string& why) {
  if (kind == EngineKind::sqlite) return std::make_unique<SqliteEngine>(clock);
  PostgresServer* const server = shared_server(why);
  return server == nullptr ? nullptr : std::make_unique<PostgresEngine>(*server);
}

}  // namespace fieldgate::store
