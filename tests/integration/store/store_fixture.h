// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/device_store.h"
#include "tests/support/fakes.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::store {

// What a test needs of an engine: an empty store, and more connections to the same one.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::unique_ptr<DeviceStore> connect() = 0;
  // Of the engine's own leave: SQLite's file belongs to one connection.
  virtual bool takes_several_nodes() const = 0;
  // Fresh statistics, as a database has them that is in use.
  virtual void analyze() = 0;
  // A word that stands in each plan that reads a table from end to end.
  virtual bool reads_all(std::string_view plan) const = 0;
};

enum class EngineKind { sqlite, postgres };
void PrintTo(EngineKind kind, std::ostream* out);
// nullptr: it is not installed; `why` says so.
std::unique_ptr<Engine> make_engine(EngineKind kind, const Clock& clock, std::string& why);

// A store, empty and open, of the engine that the parameter names.
class StoreTest : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override;

  static DeviceId id(std::string_view text) { return DeviceId::parse(text).value(); }
  static DeviceEntry entry(std::string_view device);
  static DeviceCredential credential(std::string_view name, char hash_digit);
  static ClaimRequest request(std::string_view device, std::uint64_t at_least = 0, bool auto_register = true);
  static PresenceEvent online(std::string_view device, std::uint64_t epoch);
  static PresenceEvent offline(std::string_view device, std::uint64_t epoch);
  static CommandEntry command(std::string_view command_id, std::string_view device);
  static CommandAdvance step(std::string_view command_id, CommandState state, std::int64_t unix_ms = 5'000);
  static TimelineEntry moment(std::string_view device, std::int64_t unix_ms);

  // Of one device; 0: no grant.
  std::uint64_t claim_one(const ClaimRequest& request);
  PresenceRow row(std::string_view device);

  test::FakeClock clock_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<DeviceStore> store_;
};

// So that failures say what the store said.
template <class T>
testing::AssertionResult ok(const Result<T>& result) {
  if (result) return testing::AssertionSuccess();
  return testing::AssertionFailure() << result.error().code.message() << ": " << result.error().detail;
}

template <class T>
bool failed_with(const Result<T>& result, Errc code) {
  return !result && result.error().code == code;
}

}  // namespace fieldgate::store
