// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/engines.h"

#include "adapters/postgres/postgres_store.h"
#include "adapters/sqlite/sqlite_store.h"

#include <memory>

namespace fieldgate::store {

std::unique_ptr<DeviceStore> SqliteEngine::connect() { return sqlite::make_sqlite_store(path_, clock_); }

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
