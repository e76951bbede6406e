// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/store/database.h"
#include "gateway/ports/clock.h"

#include <sqlite3.h>

#include <memory>
#include <string>
#include <unordered_map>

namespace fieldgate::sqlite {

struct CloseConnection {
  void operator()(sqlite3* connection) const noexcept { ::sqlite3_close_v2(connection); }
};
struct FinishStatement {
  void operator()(sqlite3_stmt* statement) const noexcept { ::sqlite3_finalize(statement); }
};
using Connection = std::unique_ptr<sqlite3, CloseConnection>;
using Prepared = std::unique_ptr<sqlite3_stmt, FinishStatement>;

// store::Database over one file; see sqlite_store.h.
class SqliteDatabase final : public store::Database {
 public:
  SqliteDatabase(std::string path, const Clock& clock);

  Result<void> open() override;
  Result<void> begin() override;
  Result<void> commit() override;
  void rollback() noexcept override;
  Result<std::size_t> run(std::span<const store::Call> calls, const store::OnRow& on_row) override;
  Result<std::string> explain(const store::Call& call) override;
  std::string description() const override;

 private:
  Result<void> connect();
  Result<void> check_file();  // reads its header alone
  Result<void> configure();
  Result<void> migrate(std::uint32_t found);
  Result<void> execute(const char* sql);
  Result<std::int64_t> ask(const char* sql);
  Result<sqlite3_stmt*> prepared(const store::Statement& statement);
  Result<Prepared> prepare(std::string sql, unsigned flags);
  Result<void> bind(sqlite3_stmt* statement, const store::Params& params);
  Result<std::size_t> step(sqlite3_stmt* statement, std::size_t index, const store::OnRow& on_row);
  // What SQLite said last, with the path.
  Error error(int code) const;

  const std::string path_;
  const Clock& clock_;
  Connection connection_;
  std::unordered_map<const store::Statement*, Prepared> statements_;  // go before the connection
  bool opened_ = false;
};

}  // namespace fieldgate::sqlite
