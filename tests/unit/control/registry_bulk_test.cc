// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/registry_desk.h"

#include "tests/unit/control/registry_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

struct RegistryBulkTest : RegistryDeskTest {
  static Registry::Item item(const std::string& id, DevicePatch patch = {}) {
    return {device_id(id), std::move(patch), PutMode::replace, {}};
  }
  std::vector<Result<DeviceEntry>> put_all(std::vector<Registry::Item> items) {
    Answer<std::vector<Result<DeviceEntry>>> answer;
    desk.put_all(std::move(items), "import", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return **answer;
  }
};

TEST_F(RegistryBulkTest, TakesManyInOrderAndSaysOfEachWhatBecameOfIt) {
  std::vector<Registry::Item> items;
  const std::size_t count = 2 * RegistryDesk::k_put_all_step + 3;
  for (std::size_t i = 0; i < count; ++i) items.push_back(item("d" + std::to_string(i)));
  items[5].patch = labelled({{"", "no key"}});
  items[count - 1].mode = PutMode::update;
  const std::uint64_t commits = faults->commits;
  const auto results = put_all(items);
  EXPECT_EQ(faults->commits - commits, 3U);
  ASSERT_EQ(results.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i == 5 || i == count - 1) continue;
    ASSERT_TRUE(results[i]) << i;
    EXPECT_EQ(results[i]->id.str(), "d" + std::to_string(i));
  }
  EXPECT_EQ(code(results[5].error()), Errc::invalid_argument);
  EXPECT_EQ(code(results[count - 1].error()), Errc::not_found);
  EXPECT_EQ(sink.registry.size(), count - 2);
}

TEST_F(RegistryBulkTest, PassesOverWhatTheStoreRefuses) {
  auto items = std::vector{item("a"), item("b"), item("c"), item("d")};
  items[0].credentials.push_back({.sha256 = k_hash_a, .note = {}});
  items[1].credentials.push_back({.sha256 = k_hash_a, .note = {}});  // that is a's
  items[2].credentials.push_back({.sha256 = k_hash_b, .note = {}});
  const auto results = put_all(items);
  EXPECT_TRUE(results[0] && results[2] && results[3]);
  EXPECT_EQ(code(results[1].error()), Errc::conflict);
  EXPECT_EQ(listed(), (Texts{"a", "c", "d"}));
  EXPECT_EQ(get("a")->credentials.size(), 1U);
  const auto again = put_all({items[0]});
  ASSERT_TRUE(again[0]) << "a second import is the same import";
  EXPECT_EQ(again[0]->credentials.size(), 1U);
}

TEST_F(RegistryBulkTest, LeavesAloneWhatItWouldNotChange) {
  auto items = std::vector{item("a", labelled({{"site", "north"}})), item("b")};
  items[0].credentials.push_back({.sha256 = k_hash_a, .note = {}});
  const auto first = put_all(items);
  const std::size_t told = sink.registry.size();
  clock.passed += 5s;
  items[1].patch = labelled({{"site", "south"}});
  const auto again = put_all(items);
  ASSERT_TRUE(first[0] && first[1] && again[0] && again[1]);
  EXPECT_EQ(again[0]->revision, first[0]->revision);
  EXPECT_EQ(again[0]->updated_unix_ms, first[0]->updated_unix_ms);
  EXPECT_EQ(again[0]->credentials, first[0]->credentials);
  EXPECT_GT(again[1]->revision, first[1]->revision);
  EXPECT_EQ(sink.registry.size(), told + 1) << "of the other alone";
}

TEST_F(RegistryBulkTest, SaysWhatAnOutageCutOff) {
  std::vector<Registry::Item> items;
  for (std::size_t i = 0; i < RegistryDesk::k_put_all_step + 1; ++i) items.push_back(item("d" + std::to_string(i)));
  int commits = 0;
  faults->look = [&](std::string_view call) {
    if (call == "commit") ++commits;
    faults->down = commits >= 1 && call == "begin";
  };
  const auto results = put_all(items);
  EXPECT_TRUE(results.front());
  ASSERT_FALSE(results.back());
  EXPECT_EQ(code(results.back().error()), Errc::unavailable);
}

}  // namespace
}  // namespace fieldgate::control
