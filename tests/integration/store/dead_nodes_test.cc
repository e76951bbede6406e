// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/mutex.h"
#include "tests/integration/store/store_fixture.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

namespace fieldgate::store {
namespace {

using std::chrono::seconds;

class DeadNodes : public StoreTest {
 protected:
  static void lease(DeviceStore& store, const std::string& node, seconds term) {
    ASSERT_TRUE(ok(store.lease({node, "b1", "1.0", 5, 0, false}, term)));
  }
  void add(const std::vector<PresenceEvent>& events) { ASSERT_TRUE(ok(store_->add_presence(events))); }
  std::vector<std::string> node_names() {
    std::vector<std::string> names;
    const auto nodes = store_->nodes();
    EXPECT_TRUE(ok(nodes));
    for (const NodeRow& node : *nodes) names.push_back(node.name);
    return names;
  }
};

TEST_P(DeadNodes, LoseWhatTheyLeftOnlineInAnyBootAndLiveOnesNothing) {
  lease(*store_, "n1", seconds(0));
  lease(*store_, "n2", seconds(60));
  std::vector<PresenceEvent> events{online("a", 1), online("b", 2), online("c", 3), online("d", 4), offline("d", 4)};
  events[1].boot_id = "b0";
  events[2].node = "n2";
  add(events);
  const auto first = store_->end_dead_node("n1", 777, 1);
  ASSERT_TRUE(ok(first));
  ASSERT_EQ(first->size(), 1U);
  const auto rest = store_->end_dead_node("n1", 777, 10);
  ASSERT_TRUE(ok(rest));
  ASSERT_EQ(rest->size(), 1U);
  EXPECT_EQ((std::set<std::string>{first->front().device.str(), rest->front().device.str()}),
            (std::set<std::string>{"a", "b"}));
  EXPECT_TRUE(store_->end_dead_node("n1", 777, 10)->empty());
  EXPECT_TRUE(store_->end_dead_node("n2", 777, 10)->empty()) << "its lease holds";
  EXPECT_TRUE(store_->end_dead_node("never was", 777, 10)->empty());
  for (const char* name : {"a", "b"}) {
    EXPECT_FALSE(row(name).online);
    EXPECT_EQ(row(name).reason, "node_lost");
    EXPECT_EQ(row(name).node, "n1") << "who had it, not who says so";
    EXPECT_EQ(row(name).since_unix_ms, 777);
  }
  EXPECT_EQ(row("b").boot_id, "b0");
  EXPECT_TRUE(row("c").online);
  const auto log = store_->presence_log(nullptr, 5, 10);
  ASSERT_TRUE(ok(log));
  ASSERT_EQ(log->size(), 2U);
  EXPECT_EQ(log->at(0).number, first->front().number);
  EXPECT_EQ(log->at(1).number, rest->front().number);
  EXPECT_EQ(store_->presence_number().value(), 7U);
}

TEST_P(DeadNodes, AreForgottenOnceTheyHaveNothingOnline) {
  lease(*store_, "n1", seconds(-10));
  lease(*store_, "n2", seconds(-10));
  lease(*store_, "n3", seconds(60));
  add({online("a", 1)});
  EXPECT_EQ(store_->forget_nodes(seconds(60)).value(), 0U) << "not for so long";
  EXPECT_EQ(store_->forget_nodes(seconds(5)).value(), 1U);
  EXPECT_EQ(node_names(), (std::vector<std::string>{"n1", "n3"}));
  ASSERT_TRUE(ok(store_->end_dead_node("n1", 1, 10)));
  EXPECT_EQ(store_->forget_nodes(seconds(5)).value(), 1U);
  EXPECT_EQ(node_names(), std::vector<std::string>{"n3"});
}

TEST_P(DeadNodes, RowsOfNamedDevicesAreThoseThatHaveAnEvent) {
  EXPECT_EQ(store_->presence_number().value(), 0U);
  const ProfileUpdate early{id("c"), {1}, "1.0", {}};
  ASSERT_TRUE(ok(store_->set_profiles({&early, 1})));
  add({online("a", 1), online("b", 2)});
  const std::vector<DeviceId> wanted{id("b"), id("none"), id("c"), id("a")};
  const auto rows = store_->presence_of(wanted);
  ASSERT_TRUE(ok(rows));
  std::set<std::string> found;
  for (const PresenceRow& one : *rows) found.insert(one.device.str());
  EXPECT_EQ(found, (std::set<std::string>{"a", "b"}));
  EXPECT_TRUE(store_->presence_of({})->empty());
}

INSTANTIATE_TEST_SUITE_P(Store, DeadNodes, testing::Values(EngineKind::sqlite, EngineKind::postgres),
                         testing::PrintToStringParamName());

// Several gateways on one PostgreSQL.
class SeveralReapers : public DeadNodes {};

TEST_P(SeveralReapers, EndEachPairOnceBetweenThem) {
  constexpr int k_devices = 200;
  lease(*store_, "n1", seconds(0));
  std::vector<PresenceEvent> events;
  for (int i = 0; i < k_devices; ++i) events.push_back(online("d" + std::to_string(i), 1));
  add(events);
  Mutex mutex;
  std::multiset<std::string> ended;
  std::vector<std::thread> threads;
  std::atomic<bool> good = true;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const auto store = engine_->connect();
      bool more = store->open().has_value();
      good = good && more;
      while (more) {
        const auto portion = store->end_dead_node("n1", 1, 7);
        if (!ok(portion)) good = false;
        more = portion && !portion->empty();
        const MutexLock lock(mutex);
        for (std::size_t k = 0; more && k < portion->size(); ++k) ended.insert((*portion)[k].device.str());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(good);
  EXPECT_EQ(ended.size(), std::size_t{k_devices});
  EXPECT_EQ((std::set<std::string>(ended.begin(), ended.end()).size()), std::size_t{k_devices});
  EXPECT_EQ(store_->presence_number().value(), 2U * k_devices);
}

TEST_P(SeveralReapers, WaitForALeaseThatIsBeingRenewedAndLeaveItsNodeAlone) {
  lease(*store_, "n1", seconds(0));
  add({online("a", 1)});
  ASSERT_TRUE(ok(store_->begin()));
  lease(*store_, "n1", seconds(60));
  std::atomic<int> ended = -1;
  std::thread reaper([&] {
    const auto store = engine_->connect();
    if (!store->open()) return;
    const auto events = store->end_dead_node("n1", 1, 10);
    if (ok(events)) ended = static_cast<int>(events->size());
  });
  ASSERT_TRUE(ok(store_->commit()));
  reaper.join();
  EXPECT_EQ(ended, 0);
  EXPECT_TRUE(row("a").online);
}

INSTANTIATE_TEST_SUITE_P(Store, SeveralReapers, testing::Values(EngineKind::postgres),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace fieldgate::store
