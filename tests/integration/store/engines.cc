// SPDX-License-Identifier: Apache-2.0
#include "adapters/sqlite/sqlite_store.h"
#include "tests/integration/store/store_fixture.h"
#include "tests/support/temp_dir.h"

#include <sqlite3.h>

namespace fieldgate::store {
namespace {

class SqliteEngine final : public Engine {
 public:
  explicit SqliteEngine(const Clock& clock) : clock_(clock) {}
  std::unique_ptr<DeviceStore> connect() override { return sqlite::make_sqlite_store(path_, clock_); }
  bool takes_several_nodes() const override { return false; }
  void analyze() override {}  // it reads its plans from the indexes alone
  bool reads_all(std::string_view plan) const override {
    // "SCAN t" reads all of it; "SCAN t USING INDEX" is how a whole index is walked in order.
    return plan.find("SCAN") != std::string_view::npos || plan.find("TEMP B-TREE") != std::string_view::npos;
  }

 private:
  test::TempDir dir_;
  const std::string path_ = dir_.file("store.db");
  const Clock& clock_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(EngineKind kind, const Clock& clock, std::string& why) {
  if (kind == EngineKind::sqlite) return std::make_unique<SqliteEngine>(clock);
  why = "not yet";
  return nullptr;
}

}  // namespace fieldgate::store
