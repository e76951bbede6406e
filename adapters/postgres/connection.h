// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/store/database.h"
#include "gateway/core/mutex.h"

#include <libpq-fe.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fieldgate::postgres {

struct ClearResult {
  void operator()(PGresult* result) const noexcept { ::PQclear(result); }
};
struct FinishConnection {
  void operator()(PGconn* connection) const noexcept { ::PQfinish(connection); }
};
using Answer = std::unique_ptr<PGresult, ClearResult>;

// One connection through libpq, on which no wait for the server is without an end.
// It is made by a helper thread, for libpq resolves names and tries one address after the other
// without looking up: who waits for it can be interrupted, and the helper ends by itself.
// Thread: one. Every member waits. The destructor waits for a helper that was left behind, for
//         as long as libpq takes: connect_timeout for each address.
// Errors: by SQLSTATE, as store::Database has them; Errc::unavailable closes the
//         connection. No password is ever in them.
class Connection {
 public:
  // `patience`: for the answer to one statement.
  explicit Connection(std::chrono::milliseconds patience);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Keywords and values in the order in which later ones win (libpq, PQconnectdbParams).
  Result<void> connect(const std::vector<std::pair<std::string, std::string>>& parameters);
  bool is_open() const noexcept { return connection_ != nullptr; }
  // Any thread: ends the wait for an answer or for a connection, and every later one; no more
  // connections are made.
  void interrupt() noexcept;
  void close() noexcept;

  // SQL as it stands, one statement or several; the last one's answer, in text.
  Result<Answer> execute(const std::string& sql, std::chrono::milliseconds patience);
  Result<Answer> execute(const std::string& sql) { return execute(sql, patience_); }
  // All calls in one pipeline, at most k_pipeline_calls at a time; see store::Database.
  Result<std::size_t> run(std::span<const store::Call> calls, const store::OnRow& on_row);
  Result<std::string> explain(const store::Call& call);

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  using Handle = std::unique_ptr<PGconn, FinishConnection>;
  using Parameters = std::vector<std::pair<std::string, std::string>>;
  static constexpr std::size_t k_pipeline_calls = 512;

  // What an answer in a pipeline belongs to.
  struct Expected {
    const store::Statement* prepared = nullptr;  // it was being prepared; else it is a call's
    std::size_t index = 0;
  };

  // nullptr: interrupted, or there is no memory or thread for it.
  Handle make(const Parameters& parameters);
  // Where it is not yet prepared.
  Result<void> send_prepare(const store::Call& call, std::vector<Expected>& expected);
  Result<void> send_call(const store::Call& call);
  Result<std::size_t> run_pipeline(std::span<const store::Call> calls, std::size_t first, const store::OnRow& on_row);
  Result<void> prepare(const store::Call& call);
  Result<std::size_t> finish_pipeline(std::span<const Expected> expected, const store::OnRow& on_row);
  Result<std::size_t> read_pipeline(std::span<const Expected> expected, const store::OnRow& on_row);
  // Waits until something more of the answer, or all of what is sent, is through.
  Result<void> wait(Deadline deadline, bool for_answer);
  Result<Answer> next_answer(Deadline deadline);  // nullptr: that was all
  Deadline from_now(std::chrono::milliseconds patience) const { return std::chrono::steady_clock::now() + patience; }
  Error lost(const std::string& why);
  Error refused(const PGresult* answer);

  const std::chrono::milliseconds patience_;
  const int interrupted_;  // an event's descriptor: readable once interrupted; -1: there is none
  std::atomic<bool> over_{false};
  Handle connection_;
  std::unordered_map<const store::Statement*, std::string> prepared_;  // names, on this connection
  std::uint64_t names_ = 0;                                            // ever given

  Mutex mutex_;
  std::condition_variable_any made_or_over_;
  bool making_ GUARDED_BY(mutex_) = false;
  Handle made_ GUARDED_BY(mutex_);
  std::thread helper_;  // is making one, or has
};

}  // namespace fieldgate::postgres
