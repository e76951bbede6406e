// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/store_fixture.h"

#include <ostream>

namespace fieldgate::store {

void PrintTo(EngineKind kind, std::ostream* out) { *out << (kind == EngineKind::sqlite ? "sqlite" : "postgres"); }

void StoreTest::SetUp() {
  std::string why;
  engine_ = make_engine(GetParam(), clock_, why);
  if (engine_ == nullptr) GTEST_SKIP() << why;
  store_ = engine_->connect();
  ASSERT_TRUE(ok(store_->open()));
}

DeviceEntry StoreTest::entry(std::string_view device) {
  return {.id = id(device), .labels = {}, .note = {}, .created_unix_ms = 1'000, .updated_unix_ms = 2'000};
}

DeviceCredential StoreTest::credential(std::string_view name, char hash_digit) {
  return {.id = std::string(name),
          .kind = CredentialKind::token,
          .sha256 = std::string(64, hash_digit),
          .created_unix_ms = 3'000,
          .expires_unix_ms = 0,
          .note = ""};
}

ClaimRequest StoreTest::request(std::string_view device, std::uint64_t at_least, bool auto_register) {
  return {.device = id(device), .at_least = {at_least}, .unix_ms = 4'000, .auto_register = auto_register};
}

PresenceEvent StoreTest::online(std::string_view device, std::uint64_t epoch) {
  return {.device = id(device),
          .epoch = {epoch},
          .online = true,
          .node = "n1",
          .boot_id = "b1",
          .unix_ms = static_cast<std::int64_t>(10 * epoch)};
}

PresenceEvent StoreTest::offline(std::string_view device, std::uint64_t epoch) {
  PresenceEvent event = online(device, epoch);
  event.online = false;
  event.unix_ms += 5;
  event.reason = "bye";
  return event;
}

CommandEntry StoreTest::command(std::string_view command_id, std::string_view device) {
  CommandEntry command{.id = std::string(command_id), .device = id(device), .name = "reboot"};
  command.created_unix_ms = 1'000;
  command.expires_unix_ms = 9'000;
  command.timeout_ms = 30'000;
  command.source = "api:me";
  command.steps = {{.state = CommandState::queued, .unix_ms = 1'000}};
  return command;
}

CommandAdvance StoreTest::step(std::string_view command_id, CommandState state, std::int64_t unix_ms) {
  CommandAdvance advance{.id = std::string(command_id), .step = {.state = state, .unix_ms = unix_ms, .epoch = {7}}};
  advance.sent_again = state == CommandState::sent;
  return advance;
}

TimelineEntry StoreTest::moment(std::string_view device, std::int64_t unix_ms) {
  return {.device = id(device),
          .kind = TimelineKind::connected,
          .unix_ms = unix_ms,
          .epoch = {3},
          .fields = {{"tls", "TLSv1.3"}, {"address", "192.0.2.1:4711"}}};
}

std::uint64_t StoreTest::claim_one(const ClaimRequest& request) {
  const auto outcomes = store_->claim({&request, 1});
  EXPECT_TRUE(ok(outcomes));
  if (!outcomes || outcomes->size() != 1) return 0;
  const auto* grant = std::get_if<ClaimGrant>(&outcomes->front());
  return grant == nullptr ? 0 : grant->epoch.value;
}

PresenceRow StoreTest::row(std::string_view device) {
  const auto rows = store_->presence_rows("", 10'000);
  EXPECT_TRUE(ok(rows));
  for (const PresenceRow& found : *rows) {
    if (found.device.str() == device) return found;
  }
  ADD_FAILURE() << "no presence of " << device;
  return {.device = id(device)};
}

}  // namespace fieldgate::store
