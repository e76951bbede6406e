// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/store_fixture.h"

#include <map>
#include <random>

namespace fieldgate::store {
namespace {

class Presence : public StoreTest {
 protected:
  std::size_t add(const std::vector<PresenceEvent>& events) {
    const auto news = store_->add_presence(events);
    EXPECT_TRUE(ok(news));
    return news ? *news : 0;
  }
  std::vector<PresenceEvent> log(std::uint64_t after = 0, std::size_t limit = 10'000) {
    const auto events = store_->presence_log(nullptr, after, limit);
    EXPECT_TRUE(ok(events));
    return events ? *events : std::vector<PresenceEvent>();
  }
  EndReason refusal(const ClaimRequest& request) {
    const auto outcomes = store_->claim({&request, 1});
    EXPECT_TRUE(ok(outcomes));
    const auto* reason = std::get_if<EndReason>(&outcomes->front());
    return reason == nullptr ? EndReason::bye : *reason;
  }
};

TEST_P(Presence, GivesEpochsThatOnlyRise) {
  EXPECT_EQ(claim_one(request("a")), 1u);
  EXPECT_EQ(claim_one(request("a")), 2u);
  EXPECT_EQ(claim_one(request("a", 1'000)), 1'001u);
  EXPECT_EQ(claim_one(request("a", 7)), 1'002u);
  EXPECT_EQ(claim_one(request("b", 40)), 41u);
  // Above what a node gave while it had no store.
  add({online("a", 5'000)});
  EXPECT_EQ(claim_one(request("a")), 5'001u);
  EXPECT_EQ(claim_one(request("a", k_epoch_max - 10)), k_epoch_max - 9);
}

TEST_P(Presence, GivesOneThatGoesOnAnEpochOnlyIfTheLogHasNoLaterConnection) {
  const auto goes_on = [](std::uint64_t lost) {
    ClaimRequest claim = request("a");
    claim.while_newest = Epoch{lost};
    return claim;
  };
  ASSERT_EQ(claim_one(request("a")), 1u);
  add({online("a", 1)});
  EXPECT_EQ(claim_one(goes_on(1)), 2u);
  EXPECT_EQ(claim_one(goes_on(1)), 3u) << "as where the first answer was lost";
  add({online("a", 3)});
  EXPECT_EQ(claim_one(request("a")), 4u);
  add({online("a", 4)});
  EXPECT_EQ(refusal(goes_on(3)), EndReason::taken_over);
  add({offline("a", 4)});
  EXPECT_EQ(refusal(goes_on(3)), EndReason::taken_over) << "it has left again";
  EXPECT_EQ(claim_one(request("a")), 5u) << "and leaves it as it was";
  // A store that was set back knows of fewer.
  EXPECT_EQ(claim_one(goes_on(100)), 6u);
  ClaimRequest nobody = goes_on(1);
  nobody.device = *DeviceId::parse("nobody");
  nobody.auto_register = false;
  EXPECT_EQ(refusal(nobody), EndReason::device_unknown);
}

TEST_P(Presence, AnswersClaimsInTheirOrder) {
  DeviceEntry off = entry("off");
  off.enabled = false;
  ASSERT_TRUE(ok(store_->put_device(off, std::nullopt)));
  ASSERT_TRUE(ok(store_->put_device(entry("known"), std::nullopt)));
  const std::vector<ClaimRequest> requests{
      request("z"),   request("off"), request("known"), request("nobody", 0, false),
      request("a"),   request("z"),   request("known"), request("off", 0, false),
      request("b", 9)};
  const auto outcomes = store_->claim(requests);
  ASSERT_TRUE(ok(outcomes));
  ASSERT_EQ(outcomes->size(), requests.size());
  const auto grant = [&](std::size_t i) { return std::get<ClaimGrant>((*outcomes)[i]); };
  EXPECT_EQ(grant(0).epoch.value, 1u);
  EXPECT_TRUE(grant(0).registered_now);
  EXPECT_EQ(std::get<EndReason>((*outcomes)[1]), EndReason::device_disabled);
  EXPECT_EQ(grant(2).epoch.value, 1u);
  EXPECT_FALSE(grant(2).registered_now);
  EXPECT_EQ(std::get<EndReason>((*outcomes)[3]), EndReason::device_unknown);
  EXPECT_TRUE(grant(4).registered_now);
  EXPECT_EQ(grant(5).epoch.value, 2u);
  EXPECT_FALSE(grant(5).registered_now);
  EXPECT_EQ(grant(6).epoch.value, 2u);
  EXPECT_EQ(std::get<EndReason>((*outcomes)[7]), EndReason::device_disabled);
  EXPECT_EQ(grant(8).epoch.value, 10u);
  EXPECT_TRUE(store_->claim({})->empty());
}

TEST_P(Presence, RegistersByItselfWhomItIsToldTo) {
  EXPECT_EQ(refusal(request("a", 0, false)), EndReason::device_unknown);
  EXPECT_TRUE(store_->registry_changes(0, 10)->empty());
  EXPECT_EQ(claim_one(request("a")), 1u);
  const auto changes = store_->registry_changes(0, 10);
  ASSERT_EQ(changes->size(), 1u);
  const DeviceEntry& made = *changes->front().entry;
  EXPECT_TRUE(made.automatic);
  EXPECT_TRUE(made.enabled);
  EXPECT_EQ(made.created_unix_ms, 4'000);
  EXPECT_EQ(made.revision, 1u);
  EXPECT_EQ(claim_one(request("a", 0, false)), 2u);  // now it is known
}

TEST_P(Presence, TakesABatchOfThousandsOfClaims) {
  std::vector<ClaimRequest> requests;
  for (int i = 0; i < 3'000; ++i) requests.push_back(request("dev-" + std::to_string(i * 7919 % 3'000)));
  for (const std::uint64_t round : {1u, 2u}) {
    const auto outcomes = store_->claim(requests);
    ASSERT_TRUE(ok(outcomes));
    for (const ClaimOutcome& outcome : *outcomes) ASSERT_EQ(std::get<ClaimGrant>(outcome).epoch.value, round);
  }
  EXPECT_EQ(store_->registry_changes(0, 10'000)->size(), 3'000u);
}

TEST_P(Presence, TakesOnlyWhatIsNews) {
  EXPECT_EQ(add({online("a", 5)}), 1u);
  EXPECT_EQ(add({online("a", 5)}), 0u);
  EXPECT_EQ(add({offline("a", 4), online("a", 4)}), 0u);
  EXPECT_TRUE(row("a").online);
  EXPECT_EQ(add({offline("a", 5), offline("a", 5)}), 1u);
  EXPECT_EQ(add({online("a", 5)}), 0u);  // late: that one is over
  EXPECT_EQ(row("a").online, false);
  EXPECT_EQ(row("a").reason, "bye");
  EXPECT_EQ(row("a").since_unix_ms, 55);
  EXPECT_EQ(add({online("a", 8), online("a", 9), offline("a", 8), offline("a", 9), offline("a", 12)}), 4u);
  EXPECT_EQ(row("a").epoch.value, 12u);
  const auto events = log();
  ASSERT_EQ(events.size(), 6u);
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].number, i + 1);
  EXPECT_EQ(add({}), 0u);
}

TEST_P(Presence, GivesBackAnEventAsItWasTaken) {
  PresenceEvent put = offline("a", k_epoch_max);
  put.node = "n'1";
  put.boot_id = "\"b\"";
  put.reason = std::string(1'000, 'r');
  put.unix_ms = 1'700'000'000'123;
  ASSERT_EQ(add({put}), 1u);
  const auto events = log();
  EXPECT_EQ(events[0].device, put.device);
  EXPECT_EQ(events[0].epoch, put.epoch);
  EXPECT_EQ(events[0].online, false);
  EXPECT_EQ(events[0].node, put.node);
  EXPECT_EQ(events[0].boot_id, put.boot_id);
  EXPECT_EQ(events[0].unix_ms, put.unix_ms);
  EXPECT_EQ(events[0].reason, put.reason);
  EXPECT_EQ(events[0].number, 1u);
  EXPECT_EQ(row("a").node, put.node);
  EXPECT_EQ(row("a").boot_id, put.boot_id);
}

// What happens is told more than once, late, and out of order: the log replayed is the
// truth at each moment all the same.
TEST_P(Presence, StaysTrueHoweverEventsAreRepeatedAndMixed) {
  std::mt19937 random(4);
  const std::vector<std::string> names{"a", "b", "c"};
  std::map<std::string, std::uint64_t> epochs;
  std::vector<PresenceEvent> told;
  struct Truth {
    std::uint64_t epoch = 0;
    bool online = false;
  };
  std::map<std::string, Truth> truth;
  for (int round = 0; round < 60; ++round) {
    std::vector<PresenceEvent> batch;
    for (int i = 0; i < 6; ++i) {
      const std::string& name = names[random() % names.size()];
      if (!told.empty() && random() % 2 == 0) {
        batch.push_back(told[random() % told.size()]);  // again
        continue;
      }
      const std::uint64_t epoch = epochs[name] += random() % 2;
      batch.push_back(random() % 2 == 0 ? online(name, epoch + 1) : offline(name, epoch + 1));
      told.push_back(batch.back());
    }
    for (const PresenceEvent& event : batch) {
      Truth& now = truth[event.device.str()];
      const bool news =
          event.epoch.value > now.epoch || (event.epoch.value == now.epoch && now.online && !event.online);
      if (news) now = {event.epoch.value, event.online};
    }
    add(batch);
  }
  std::map<std::string, Truth> replayed;
  for (const PresenceEvent& event : log()) {
    Truth& now = replayed[event.device.str()];
    ASSERT_GE(event.epoch.value, now.epoch);
    ASSERT_TRUE(event.epoch.value > now.epoch || (now.online && !event.online));
    now = {event.epoch.value, event.online};
  }
  for (const auto& [name, now] : truth) {
    EXPECT_EQ(replayed[name].epoch, now.epoch) << name;
    EXPECT_EQ(replayed[name].online, now.online) << name;
    EXPECT_EQ(row(name).epoch.value, now.epoch) << name;
    EXPECT_EQ(row(name).online, now.online) << name;
  }
}

TEST_P(Presence, NeverMovesStampsBack) {
  add({online("a", 5)});
  const auto seen = [&](std::uint64_t epoch, std::int64_t last_seen, std::int64_t last_data) {
    const SeenUpdate update{id("a"), {epoch}, last_seen, last_data};
    ASSERT_TRUE(ok(store_->set_seen({&update, 1})));
  };
  seen(5, 100, 50);
  seen(5, 90, 60);
  EXPECT_EQ(row("a").last_seen_unix_ms, 100);
  EXPECT_EQ(row("a").last_data_unix_ms, 60);
  seen(4, 1'000, 1'000);  // of a connection before
  EXPECT_EQ(row("a").last_seen_unix_ms, 100);
  seen(6, 200, 0);  // of one whose event is still under way
  EXPECT_EQ(row("a").last_seen_unix_ms, 200);
  EXPECT_EQ(row("a").last_data_unix_ms, 60);
  EXPECT_EQ(row("a").epoch.value, 5u);
  EXPECT_TRUE(row("a").online);
}

// Let in and refused after all, so that the connection before goes on.
TEST_P(Presence, TakesStampsOfAConnectionAfterTheProfileOfOneThatCameToNothing) {
  add({online("a", 5)});
  const ProfileUpdate refused{id("a"), {6}, "2.0", {}};
  ASSERT_TRUE(ok(store_->set_profiles({&refused, 1})));
  const SeenUpdate update{id("a"), {5}, 100, 50};
  ASSERT_TRUE(ok(store_->set_seen({&update, 1})));
  EXPECT_EQ(row("a").last_seen_unix_ms, 100);
  EXPECT_EQ(row("a").last_data_unix_ms, 50);
  EXPECT_EQ(row("a").firmware, "2.0");
}

TEST_P(Presence, KeepsTheNewestProfile) {
  add({online("a", 5)});
  const auto profile = [&](std::uint64_t epoch, std::string firmware) {
    const ProfileUpdate update{id("a"), {epoch}, std::move(firmware), {{"k\"", "v'ü"}}};
    ASSERT_TRUE(ok(store_->set_profiles({&update, 1})));
  };
  profile(5, "1.0");
  profile(4, "0.9");
  EXPECT_EQ(row("a").firmware, "1.0");
  EXPECT_EQ(row("a").labels, (Labels{{"k\"", "v'ü"}}));
  profile(7, "2.0");
  profile(6, "1.5");
  EXPECT_EQ(row("a").firmware, "2.0");
  // Heard of before its first event: nothing is lost, and nothing shows yet.
  const ProfileUpdate early{id("b"), {3}, "3.0", {}};
  ASSERT_TRUE(ok(store_->set_profiles({&early, 1})));
  EXPECT_EQ(store_->presence_rows("", 10)->size(), 1u);
  add({online("b", 3)});
  EXPECT_EQ(row("b").firmware, "3.0");
}

TEST_P(Presence, EndsWhatAnEarlierBootLeftOnline) {
  std::vector<PresenceEvent> events{online("a", 1), online("b", 2), online("c", 3), online("d", 4), offline("e", 5)};
  events[2].boot_id = "b2";
  events[3].node = "n2";
  add(events);
  const auto first = store_->end_earlier_boots("n1", "b2", 777, 1);
  ASSERT_TRUE(ok(first));
  ASSERT_EQ(first->size(), 1u);
  const auto rest = store_->end_earlier_boots("n1", "b2", 777, 10);
  ASSERT_EQ(rest->size(), 1u);
  EXPECT_NE(first->front().device, rest->front().device);
  EXPECT_TRUE(store_->end_earlier_boots("n1", "b2", 777, 10)->empty());
  for (const char* name : {"a", "b"}) {
    EXPECT_FALSE(row(name).online);
    EXPECT_EQ(row(name).reason, "node_lost");
    EXPECT_EQ(row(name).since_unix_ms, 777);
    EXPECT_EQ(row(name).boot_id, "b1");
  }
  EXPECT_TRUE(row("c").online);
  EXPECT_TRUE(row("d").online);
  const auto logged = log(5);
  ASSERT_EQ(logged.size(), 2u);
  EXPECT_EQ(logged[0].number, first->front().number);
  EXPECT_EQ(logged[1].number, rest->front().number);
  EXPECT_EQ(logged[1].reason, "node_lost");
}

TEST_P(Presence, PagesByIdInTheOrderOfBytes) {
  add({online("b", 1), online("A", 1), online("a", 1), online("a-1", 1), online("B", 1)});
  std::vector<std::string> ids;
  std::string after;
  while (true) {
    const auto page = store_->presence_rows(after, 2);
    ASSERT_TRUE(ok(page));
    if (page->empty()) break;
    EXPECT_LE(page->size(), 2u);
    for (const PresenceRow& found : *page) ids.push_back(found.device.str());
    after = ids.back();
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"A", "B", "a", "a-1", "b"}));
}

TEST_P(Presence, PagesTheLogOfOneDeviceAndOfAll) {
  for (std::uint64_t epoch = 1; epoch <= 5; ++epoch) add({online("a", epoch), online("b", epoch)});
  EXPECT_EQ(log(3, 2).front().number, 4u);
  EXPECT_EQ(log(3, 2).back().number, 5u);
  EXPECT_TRUE(log(10).empty());
  EXPECT_TRUE(log(~std::uint64_t{0}).empty());
  const DeviceId b = id("b");
  const auto newest = store_->device_presence(b, 0, 2);
  ASSERT_TRUE(ok(newest));
  ASSERT_EQ(newest->size(), 2u);
  EXPECT_GT(newest->at(0).number, newest->at(1).number);
  const auto before = store_->device_presence(b, newest->at(1).number, 100);
  ASSERT_TRUE(ok(before));
  ASSERT_FALSE(before->empty());
  EXPECT_LT(before->front().number, newest->at(1).number);
  const auto page = store_->presence_log(&b, 2, 2);
  ASSERT_EQ(page->size(), 2u);
  EXPECT_EQ(page->front().number, 4u);
  EXPECT_EQ(page->back().number, 6u);
  EXPECT_EQ(page->back().device, b);
}

TEST_P(Presence, TrimsTheOldestBeyondWhatIsKept) {
  for (std::uint64_t epoch = 1; epoch <= 10; ++epoch) add({online("a", epoch), online("a", epoch)});
  EXPECT_EQ(*store_->trim_presence(100, 100), 0u);
  EXPECT_EQ(*store_->trim_presence(4, 5), 5u);
  EXPECT_EQ(log().front().number, 6u);
  EXPECT_EQ(*store_->trim_presence(4, 5), 1u);
  EXPECT_EQ(*store_->trim_presence(4, 5), 0u);
  EXPECT_EQ(log().size(), 4u);
  EXPECT_EQ(log().front().number, 7u);
  EXPECT_EQ(*store_->trim_presence(0, 100), 4u);
  add({online("a", 11)});
  EXPECT_EQ(log().front().number, 11u);  // no number is given twice
}

INSTANTIATE_TEST_SUITE_P(Store, Presence, testing::Values(EngineKind::sqlite, EngineKind::postgres),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace fieldgate::store
