// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/store_fixture.h"

#include <atomic>
#include <map>
#include <set>
#include <thread>

namespace fieldgate::store {
namespace {

// Several gateways on one PostgreSQL.
class SeveralNodes : public StoreTest {
 protected:
  static constexpr int k_nodes = 3;

  // One after another until it is through: another's transaction may be in the way.
  template <class F>
  static bool transact(DeviceStore& store, F&& work) {
    for (int attempt = 0; attempt < 20; ++attempt) {
      if (!store.begin()) return false;
      auto done = work(store);
      if (done) done = store.commit();
      if (done) return true;
      store.rollback();
      if (done.error().code != Errc::timed_out) {
        ADD_FAILURE() << done.error().detail;
        return false;
      }
    }
    return false;
  }

  // What each node does at once; true: all went well.
  template <class F>
  bool on_all(F&& work) {
    std::vector<std::thread> threads;
    std::atomic<int> good = 0;
    for (int node = 0; node < k_nodes; ++node) {
      threads.emplace_back([&, node] {
        const auto store = engine_->connect();
        if (store->open() && work(node, *store)) ++good;
      });
    }
    for (std::thread& thread : threads) thread.join();
    return good == k_nodes;
  }
};

TEST_P(SeveralNodes, MayStartAtOnce) {
  // The fixture's store has made the schema of its database; here there is none yet.
  std::string why;
  const auto empty = make_engine(GetParam(), clock_, why);
  std::vector<std::thread> threads;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const auto store = empty->connect();
      const auto result = store->open();
      EXPECT_TRUE(ok(result));
      if (result && store->registry_changes(0, 1)) ++opened;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(opened, 6);
}

TEST_P(SeveralNodes, GiveNoEpochTwice) {
  constexpr int k_rounds = 40;
  std::vector<std::vector<std::uint64_t>> given(k_nodes);
  EXPECT_TRUE(on_all([&](int node, DeviceStore& store) {
    const std::vector<ClaimRequest> claims{request("b"), request("a")};
    for (int round = 0; round < k_rounds; ++round) {
      const bool done = transact(store, [&](DeviceStore& of) -> Result<void> {
        const auto outcomes = of.claim(claims);
        if (!outcomes) return outcomes.error();
        given[static_cast<std::size_t>(node)].push_back(std::get<ClaimGrant>((*outcomes)[1]).epoch.value);
        return {};
      });
      if (!done) return false;
    }
    return true;
  }));
  std::set<std::uint64_t> all;
  for (const auto& of : given) {
    EXPECT_TRUE(std::ranges::is_sorted(of));
    all.insert(of.begin(), of.end());
  }
  EXPECT_EQ(all.size(), std::size_t{k_nodes} * k_rounds);
}

// A reader that asks for what is new again and again, as a node does: what another node
// commits late must not be behind it.
TEST_P(SeveralNodes, HideNoChangeFromWhoFollowsTheRegistry) {
  constexpr int k_rounds = 60;
  std::atomic<bool> writing = true;
  std::map<std::string, bool> followed;  // and whether it is there
  std::uint64_t at = 0;
  std::atomic<bool> ordered = true;
  std::thread reader([&] {
    const auto store = engine_->connect();
    if (!store->open()) ordered = false;
    for (bool last = false; !last && ordered;) {
      last = !writing;  // one more look after the end
      while (true) {
        const auto changes = store->registry_changes(at, 7);
        if (!changes) ordered = false;
        if (!changes || changes->empty()) break;
        for (const RegistryChange& change : *changes) {
          if (change.revision <= at) ordered = false;
          at = change.revision;
          followed[change.id.str()] = change.entry.has_value();
        }
      }
    }
  });
  EXPECT_TRUE(on_all([&](int node, DeviceStore& store) {
    for (int round = 0; round < k_rounds; ++round) {
      const std::string name = "n" + std::to_string(node) + "-" + std::to_string(round);
      const bool done = transact(store, [&](DeviceStore& of) -> Result<void> {
        if (auto put = of.put_device(entry(name), 0); !put) return put.error();
        if (auto put = of.put_device(entry("shared"), std::nullopt); !put) return put.error();
        if (round % 3 == 0) {
          if (auto gone = of.delete_device(id(name), std::nullopt); !gone) return gone.error();
        }
        return {};
      });
      if (!done) return false;
    }
    return true;
  }));
  writing = false;
  reader.join();
  EXPECT_TRUE(ordered);
  EXPECT_EQ(at, std::uint64_t{k_nodes} * (2 * k_rounds + k_rounds / 3));  // no number was left out
  const auto truth = store_->registry_changes(0, 10'000);
  ASSERT_TRUE(ok(truth));
  std::set<std::string> there;
  for (const RegistryChange& change : *truth) there.insert(change.id.str());
  EXPECT_EQ(there.size(), std::size_t{k_nodes} * (k_rounds - k_rounds / 3) + 1);
  for (const std::string& name : there) EXPECT_TRUE(followed[name]) << name;
  for (const auto& [name, is_there] : followed) EXPECT_EQ(is_there, there.contains(name)) << name;
}

TEST_P(SeveralNodes, HideNoEventFromWhoFollowsThePresenceLog) {
  constexpr std::uint64_t k_rounds = 60;
  std::atomic<bool> writing = true;
  std::uint64_t at = 0;
  std::atomic<bool> whole = true;
  std::thread reader([&] {
    const auto store = engine_->connect();
    if (!store->open()) whole = false;
    for (bool last = false; !last && whole;) {
      last = !writing;
      while (true) {
        const auto events = store->presence_log(nullptr, at, 5);
        if (!events) whole = false;
        if (!events || events->empty()) break;
        for (const PresenceEvent& event : *events) {
          if (event.number != at + 1) whole = false;
          at = event.number;
        }
      }
    }
  });
  EXPECT_TRUE(on_all([&](int node, DeviceStore& store) {
    // The same devices on all nodes, in orders of their own.
    std::vector<std::string> names{"a", "b", "c"};
    std::ranges::rotate(names, names.begin() + node);
    for (std::uint64_t round = 1; round <= k_rounds; ++round) {
      const bool done = transact(store, [&](DeviceStore& of) -> Result<void> {
        for (const std::string& name : names) {
          const std::vector<PresenceEvent> events{online(name, round), offline(name, round)};
          const SeenUpdate seen{id(name), {round}, 1, 1};
          if (auto set = of.set_seen({&seen, 1}); !set) return set.error();
          if (auto added = of.add_presence(events); !added) return added.error();
        }
        return {};
      });
      if (!done) return false;
    }
    return true;
  }));
  writing = false;
  reader.join();
  EXPECT_TRUE(whole);
  EXPECT_EQ(at, 3 * 2 * k_rounds);  // each was news once
}

TEST_P(SeveralNodes, TakeEachStepOfACommandOnce) {
  ASSERT_TRUE(ok(store_->put_device(entry("a"), 0)));
  constexpr int k_commands = 30;
  for (int i = 0; i < k_commands; ++i) {
    ASSERT_TRUE(ok(store_->insert_command(command("c-" + std::to_string(i), "a"))));
  }
  std::atomic<int> ended = 0;
  EXPECT_TRUE(on_all([&](int node, DeviceStore& store) {
    const CommandState to = node == 0 ? CommandState::succeeded : CommandState::expired;
    for (int i = 0; i < k_commands; ++i) {
      const auto advanced = store.advance_command(step("c-" + std::to_string(i), to));
      if (!ok(advanced)) return false;
      if (advanced->has_value()) ++ended;
    }
    return true;
  }));
  EXPECT_EQ(ended, k_commands);
}

TEST_P(SeveralNodes, TakeARepeatedCommandOnce) {
  std::atomic<int> fresh = 0;
  EXPECT_TRUE(on_all([&](int node, DeviceStore& store) {
    for (int i = 0; i < 30; ++i) {
      CommandEntry made = command("c-" + std::to_string(node) + "-" + std::to_string(i), "a");
      made.idempotency_key = "key-" + std::to_string(i);
      const auto inserted = store.insert_command(made);
      if (!ok(inserted)) return false;
      if (inserted->fresh) ++fresh;
    }
    return true;
  }));
  EXPECT_EQ(fresh, 30);
}

TEST_P(SeveralNodes, LoseNoChangeOfATwin) {
  const auto change = [&](DeviceStore& store, int node) -> Result<void> {
    auto found = store.twin(id("a"));
    if (!found) return found.error();
    Twin twin = *found ? **found : Twin{.device = id("a")};
    ++(node == 0 ? twin.reported_version : twin.desired_version);
    (node == 0 ? twin.reported_json : twin.desired_json) = "{\"by\":" + std::to_string(node) + "}";
    return store.put_twin(twin);
  };
  EXPECT_TRUE(on_all([&](int node, DeviceStore& store) {
    for (int i = 0; i < 30; ++i) {
      if (!transact(store, [&](DeviceStore& of) { return change(of, node); })) return false;
    }
    return true;
  }));
  const auto twin = store_->twin(id("a"));
  EXPECT_EQ((*twin)->reported_version, 30u);
  EXPECT_EQ((*twin)->desired_version, 30u * (k_nodes - 1));
}

INSTANTIATE_TEST_SUITE_P(Store, SeveralNodes, testing::Values(EngineKind::postgres), testing::PrintToStringParamName());

}  // namespace
}  // namespace fieldgate::store
