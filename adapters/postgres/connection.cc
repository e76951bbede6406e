// SPDX-License-Identifier: Apache-2.0
#include "adapters/postgres/connection.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

namespace fieldgate::postgres {
namespace {

constexpr Oid k_int8 = 20;
constexpr Oid k_text = 25;
constexpr Oid k_bytea = 17;
constexpr int k_binary = 1;

std::uint64_t big_endian(std::uint64_t value) {
  if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap64(value);
  return value;
}

// A row of an answer in binary form.
class Row final : public store::RowView {
 public:
  Row(const PGresult* result, int row) : result_(result), row_(row) {}
  std::int64_t integer(int column) const override {
    const auto data = bytes(column);
    // int2, int4 and int8, and bool in one byte.
    std::uint64_t value = !data.empty() && (data[0] & std::byte{0x80}) != std::byte{} ? ~std::uint64_t{0} : 0;
    for (const std::byte byte : data) value = value << 8U | std::to_integer<std::uint64_t>(byte);
    return static_cast<std::int64_t>(value);
  }
  std::string_view text(int column) const override {
    return {::PQgetvalue(result_, row_, column), static_cast<std::size_t>(::PQgetlength(result_, row_, column))};
  }
  std::span<const std::byte> bytes(int column) const override { return std::as_bytes(std::span(text(column))); }

 private:
  const PGresult* result_;
  int row_;
};

// SQLSTATE: https://www.postgresql.org/docs/15/errcodes-appendix.html
Errc condition(std::string_view state) {
  if (state == "23505") return Errc::conflict;                         // unique_violation
  if (state == "40P01" || state == "40001") return Errc::timed_out;    // deadlock, serialization
  if (state == "25006") return Errc::unavailable;                      // a standby: read only
  if (state == "XX001" || state == "XX002") return Errc::unavailable;  // its data, an index of it: damaged
  if (state == "42501" || state == "3D000") return Errc::unavailable;  // no right; no such database
  if (state == "54000" || state == "22001") return Errc::too_large;
  constexpr std::array k_unavailable{"08", "28", "53", "55", "57", "58"};
  const std::string_view group = state.substr(0, 2);
  return std::ranges::find(k_unavailable, group) != k_unavailable.end() ? Errc::unavailable : Errc::internal;
}

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::ranges::replace(text, '\n', ' ');
  return text;
}

std::vector<Oid> types_of(const store::Params& params) {
  constexpr std::array<Oid, 3> k_types{k_int8, k_text, k_bytea};
  std::vector<Oid> types;
  for (const store::Value& value : params) types.push_back(k_types[value.index()]);
  return types;
}

// Parameters as libpq wants them: all in binary.
struct Bound {
  explicit Bound(const store::Params& params) : numbers(params.size()) {
    for (std::size_t i = 0; i < params.size(); ++i) {
      if (const auto* integer = std::get_if<std::int64_t>(&params[i])) {
        numbers[i] = big_endian(static_cast<std::uint64_t>(*integer));
        add(reinterpret_cast<const char*>(&numbers[i]), sizeof numbers[i]);
      } else if (const auto* text = std::get_if<std::string_view>(&params[i])) {
        add(text->data(), text->size());
      } else {
        const auto bytes = std::get<std::span<const std::byte>>(params[i]);
        add(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      }
    }
  }
  void add(const char* data, std::size_t size) {
    values.push_back(size == 0 ? "" : data);  // nullptr would be NULL
    lengths.push_back(static_cast<int>(size));
    formats.push_back(k_binary);
  }
  int size() const { return static_cast<int>(values.size()); }

  std::vector<std::uint64_t> numbers;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
};

std::size_t rows_of(const PGresult* answer) {
  if (::PQresultStatus(answer) == PGRES_TUPLES_OK) return static_cast<std::size_t>(::PQntuples(answer));
  const std::string_view count = ::PQcmdTuples(const_cast<PGresult*>(answer));
  std::size_t rows = 0;
  std::from_chars(count.data(), count.data() + count.size(), rows);
  return rows;
}

std::unique_ptr<PGconn, FinishConnection> connected_to(
    const std::vector<std::pair<std::string, std::string>>& parameters) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : parameters) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  return std::unique_ptr<PGconn, FinishConnection>(::PQconnectdbParams(keywords.data(), values.data(), 1));
}

Result<void> give_rows(const PGresult* answer, std::size_t index, const store::OnRow& on_row) {
  for (int i = 0; on_row && i < ::PQntuples(answer); ++i) {
    if (auto taken = on_row(index, Row(answer, i)); !taken) return taken;
  }
  return {};
}

}  // namespace

Connection::Connection(std::chrono::milliseconds patience)
    : patience_(patience), interrupted_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Connection::~Connection() {
  if (helper_.joinable()) helper_.join();
  if (interrupted_ >= 0) ::close(interrupted_);
}

void Connection::interrupt() noexcept {
  {
    const MutexLock lock(mutex_);  // so that nobody is between looking and waiting
    over_.store(true);
  }
  made_or_over_.notify_all();
  const std::uint64_t one = 1;
  if (interrupted_ >= 0 && ::write(interrupted_, &one, sizeof one) < 0) return;  // it is readable already
}

void Connection::close() noexcept {
  prepared_.clear();
  connection_.reset();
}

Error Connection::lost(const std::string& why) {
  close();
  return make_error(Errc::unavailable, "store: PostgreSQL: " + one_line(why));
}

Error Connection::refused(const PGresult* answer) {
  const char* state = ::PQresultErrorField(answer, PG_DIAG_SQLSTATE);
  const std::string text = ::PQresultErrorMessage(answer);
  if (state == nullptr) return lost(text);  // libpq's own word: the connection is gone
  const Errc code = condition(state);
  if (code == Errc::unavailable) return lost(text);
  return make_error(code, "store: PostgreSQL: " + one_line(text) + " (SQLSTATE " + state + ")");
}

Connection::Handle Connection::make(const Parameters& parameters) {
  // Only one that was interrupted is left behind, and after that none is made.
  if (helper_.joinable()) helper_.join();
  {
    const MutexLock lock(mutex_);
    making_ = true;
  }
  const auto help = [this, parameters] {
    pthread_setname_np(pthread_self(), "store-connect");
    Handle made = connected_to(parameters);
    {
      const MutexLock lock(mutex_);
      made_ = std::move(made);
      making_ = false;
    }
    made_or_over_.notify_all();
  };
  try {
    helper_ = std::thread(help);
  } catch (const std::system_error&) {  // as many threads are there as may be
    return nullptr;
  }
  const MutexLock lock(mutex_);
  while (making_ && !over_.load()) made_or_over_.wait(mutex_);
  return std::move(made_);
}

Result<void> Connection::connect(const Parameters& parameters) {
  close();
  if (over_.load()) return lost("interrupted");
  connection_ = make(parameters);
  if (over_.load()) return lost("interrupted");
  if (connection_ == nullptr) return lost("no memory, or no thread, for a connection");
  if (::PQstatus(connection_.get()) != CONNECTION_OK) return lost(::PQerrorMessage(connection_.get()));
  ::PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  if (::PQsetnonblocking(connection_.get(), 1) != 0) return lost(::PQerrorMessage(connection_.get()));
  return {};
}

Result<void> Connection::wait(Deadline deadline, bool for_answer) {
  PGconn* const connection = connection_.get();
  while (true) {
    const int unsent = ::PQflush(connection);
    if (unsent < 0) return lost(::PQerrorMessage(connection));
    if (for_answer ? ::PQisBusy(connection) == 0 : unsent == 0) return {};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return lost("no answer in time");
    if (over_.load()) return lost("interrupted");
    std::array<pollfd, 2> fds{{{.fd = ::PQsocket(connection), .events = POLLIN, .revents = 0},
                               {.fd = interrupted_, .events = POLLIN, .revents = 0}}};
    pollfd& fd = fds[0];
    if (unsent > 0) fd.events |= POLLOUT;
    const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(left.count()) + 1);
    if (ready < 0 && errno != EINTR) return lost(std::strerror(errno));
    if ((fd.revents & ~POLLOUT) != 0 && ::PQconsumeInput(connection) == 0) {
      return lost(::PQerrorMessage(connection));
    }
  }
}

Result<Answer> Connection::next_answer(Deadline deadline) {
  if (auto waited = wait(deadline, true); !waited) return waited.error();
  return Answer(::PQgetResult(connection_.get()));
}

Result<Answer> Connection::execute(const std::string& sql, std::chrono::milliseconds patience) {
  if (!is_open()) return make_error(Errc::unavailable, "store: PostgreSQL: not connected");
  if (::PQsendQuery(connection_.get(), sql.c_str()) == 0) return lost(::PQerrorMessage(connection_.get()));
  Answer last;
  Result<void> outcome;
  while (true) {
    auto answer = next_answer(from_now(patience));
    if (!answer) return answer.error();
    if (*answer == nullptr) break;
    const auto status = ::PQresultStatus(answer->get());
    if (outcome && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      outcome = refused(answer->get());
      if (!is_open()) return outcome.error();
    }
    last = std::move(*answer);
  }
  if (!outcome) return outcome.error();
  return last;
}

Result<void> Connection::send_prepare(const store::Call& call, std::vector<Expected>& expected) {
  if (prepared_.contains(call.statement)) return {};
  const std::string name = "s" + std::to_string(++names_);
  const std::string sql = std::string(call.statement->sql) + (call.statement->lock_rows ? " FOR UPDATE" : "");
  const std::vector<Oid> types = types_of(call.params);
  if (::PQsendPrepare(connection_.get(), name.c_str(), sql.c_str(), static_cast<int>(types.size()), types.data()) ==
      0) {
    return lost(::PQerrorMessage(connection_.get()));
  }
  prepared_.emplace(call.statement, name);
  expected.push_back({.prepared = call.statement, .index = 0});
  return {};
}

Result<void> Connection::send_call(const store::Call& call) {
  const Bound bound(call.params);
  const int sent = ::PQsendQueryPrepared(connection_.get(), prepared_.at(call.statement).c_str(), bound.size(),
                                         bound.values.data(), bound.lengths.data(), bound.formats.data(), k_binary);
  return sent == 0 ? Result<void>(lost(::PQerrorMessage(connection_.get()))) : Result<void>();
}

Result<std::size_t> Connection::run(std::span<const store::Call> calls, const store::OnRow& on_row) {
  if (!is_open()) return make_error(Errc::unavailable, "store: PostgreSQL: not connected");
  std::size_t rows = 0;
  for (std::size_t first = 0; first < calls.size(); first += k_pipeline_calls) {
    const auto some = calls.subspan(first, std::min(k_pipeline_calls, calls.size() - first));
    auto done = run_pipeline(some, first, on_row);
    if (!done) return done;
    rows += *done;
  }
  return rows;
}

Result<std::size_t> Connection::run_pipeline(std::span<const store::Call> calls, std::size_t first,
                                             const store::OnRow& on_row) {
  PGconn* const connection = connection_.get();
  if (::PQenterPipelineMode(connection) == 0) return lost(::PQerrorMessage(connection));
  std::vector<Expected> expected;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (auto sent = send_prepare(calls[i], expected); !sent) return sent.error();
    if (auto sent = send_call(calls[i]); !sent) return sent.error();
    expected.push_back({.prepared = nullptr, .index = first + i});
  }
  return finish_pipeline(expected, on_row);
}

Result<void> Connection::prepare(const store::Call& call) {
  if (prepared_.contains(call.statement)) return {};
  if (::PQenterPipelineMode(connection_.get()) == 0) return lost(::PQerrorMessage(connection_.get()));
  std::vector<Expected> expected;
  if (auto sent = send_prepare(call, expected); !sent) return sent.error();
  if (auto done = finish_pipeline(expected, {}); !done) return done.error();
  return {};
}

Result<std::size_t> Connection::finish_pipeline(std::span<const Expected> expected, const store::OnRow& on_row) {
  PGconn* const connection = connection_.get();
  if (::PQpipelineSync(connection) == 0) return lost(::PQerrorMessage(connection));
  auto rows = read_pipeline(expected, on_row);
  if (is_open() && ::PQexitPipelineMode(connection) == 0) return lost(::PQerrorMessage(connection));
  return rows;
}

Result<std::size_t> Connection::read_pipeline(std::span<const Expected> expected, const store::OnRow& on_row) {
  std::size_t rows = 0;
  Result<void> outcome;  // the first thing that went wrong; what was sent after it is not executed
  for (const Expected& of : expected) {
    while (true) {
      auto answer = next_answer(from_now(patience_));
      if (!answer) return answer.error();
      if (*answer == nullptr) break;
      const auto status = ::PQresultStatus(answer->get());
      if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        if (of.prepared != nullptr) continue;
        rows += rows_of(answer->get());
        if (outcome) outcome = give_rows(answer->get(), of.index, on_row);
        continue;
      }
      if (of.prepared != nullptr) prepared_.erase(of.prepared);
      if (status != PGRES_PIPELINE_ABORTED && outcome) {
        outcome = refused(answer->get());
        if (!is_open()) return outcome.error();
      }
    }
  }
  const auto sync = next_answer(from_now(patience_));
  if (!sync) return sync.error();
  if (::PQresultStatus(sync->get()) != PGRES_PIPELINE_SYNC) return lost("its answers are out of step");
  if (!outcome) return outcome.error();
  return rows;
}

Result<std::string> Connection::explain(const store::Call& call) {
  if (!is_open()) return make_error(Errc::unavailable, "store: PostgreSQL: not connected");
  if (auto done = prepare(call); !done) return done.error();
  std::string arguments;
  for (const store::Value& value : call.params) {
    std::string word;
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      word = std::to_string(*integer);
    } else {
      const auto* text = std::get_if<std::string_view>(&value);
      const auto bytes = text != nullptr ? std::as_bytes(std::span(*text)) : std::get<2>(value);
      word = "'";
      if (text == nullptr) word += "\\x";
      for (const std::byte byte : bytes) {
        constexpr std::string_view k_digits = "0123456789abcdef";
        const auto number = std::to_integer<unsigned>(byte);
        if (text != nullptr) {
          word += static_cast<char>(number);
          if (number == '\'') word += '\'';
        } else {
          word += {k_digits[number >> 4U], k_digits[number & 15U]};
        }
      }
      word += "'";
    }
    arguments += (arguments.empty() ? "" : ", ") + word;
  }
  auto answer = execute("EXPLAIN (COSTS OFF) EXECUTE " + prepared_.at(call.statement) + "(" + arguments + ")");
  if (!answer) return answer.error();
  std::string plan;
  for (int i = 0; i < ::PQntuples(answer->get()); ++i) {
    std::string_view line = ::PQgetvalue(answer->get(), i, 0);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    plan += (plan.empty() ? "" : "; ") + std::string(line);
  }
  return plan;
}

}  // namespace fieldgate::postgres
