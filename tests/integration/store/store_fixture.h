// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/device_store.h"
#include "tests/integration/store/engines.h"
#include "tests/support/fakes.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::store {

void PrintTo(EngineKind kind, std::ostream* out);

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
