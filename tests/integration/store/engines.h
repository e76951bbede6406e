// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/device_store.h"
#include "tests/integration/store/postgres_server.h"
#include "tests/support/temp_dir.h"

#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::store {

// What a test needs of an engine: an empty store, and more connections to the same one.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::unique_ptr<DeviceStore> connect() = 0;
  // Fresh statistics, as a database has them that is in use.
  virtual void analyze() = 0;
  // With its own hands, whatever is in it: one value, the answer's first; empty: there is none.
  virtual std::string ask(const std::string& sql) = 0;
  // True of a plan by which a table is read from end to end, or sorted.
  virtual bool reads_all(std::string_view plan) const = 0;
};

class SqliteEngine final : public Engine {
 public:
  explicit SqliteEngine(const Clock& clock) : clock_(clock) {}
  std::unique_ptr<DeviceStore> connect() override;
  std::string ask(const std::string& sql) override;
  const std::string& path() const noexcept { return path_; }
  void analyze() override {}  // it makes its plans of the indexes alone
  bool reads_all(std::string_view plan) const override;

 private:
  test::TempDir dir_;
  const std::string path_ = dir_.file("store.db");
  const Clock& clock_;
};

class PostgresEngine final : public Engine {
 public:
  explicit PostgresEngine(PostgresServer& server);
  std::unique_ptr<DeviceStore> connect() override;
  std::string ask(const std::string& sql) override { return server_.ask(database_, sql); }
  void analyze() override;
  bool reads_all(std::string_view plan) const override;
  StoreSettings settings() const;
  const std::string& database() const noexcept { return database_; }

 private:
  PostgresServer& server_;
  const std::string database_;
};

enum class EngineKind { sqlite, postgres };
// nullptr: it is not installed; `why` says so.
std::unique_ptr<Engine> make_engine(EngineKind kind, const Clock& clock, std::string& why);
PostgresServer* shared_server(std::string& why);

}  // namespace fieldgate::store
