// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/store/store_fixture.h"

namespace fieldgate::store {
namespace {

class Twins : public StoreTest {};
class Timelines : public StoreTest {
 protected:
  void add(const std::vector<TimelineEntry>& entries, std::uint32_t keep) {
    ASSERT_TRUE(ok(store_->add_timeline(entries, keep)));
  }
  std::vector<std::int64_t> times(std::string_view device, std::uint64_t before = 0, std::size_t limit = 100) {
    const auto entries = store_->timeline(id(device), before, limit);
    EXPECT_TRUE(ok(entries));
    std::vector<std::int64_t> found;
    for (const TimelineEntry& entry : *entries) found.push_back(entry.unix_ms);
    return found;
  }
};
class Nodes : public StoreTest {};
class Plans : public StoreTest {};

using Times = std::vector<std::int64_t>;

TEST_P(Twins, ComeBackAsTheyWerePut) {
  EXPECT_FALSE(store_->twin(id("a"))->has_value());
  const Twin put{.device = id("a"),
                 .reported_json = R"({"a":"O'Brien \u0000 ü"})" + std::string(32'768, ' '),
                 .reported_version = 3,
                 .reported_unix_ms = 4,
                 .reported_stream = {~std::uint64_t{0}},
                 .reported_seq = {std::uint64_t{1} << 63U},
                 .desired_json = R"({"b":[1,2.5,null]})",
                 .desired_version = 5,
                 .desired_unix_ms = 6,
                 .acknowledged_version = 4,
                 .acknowledged_error = "no'",
                 .acknowledged_unix_ms = 7};
  ASSERT_TRUE(ok(store_->put_twin(put)));
  const auto found = store_->twin(id("a"));
  ASSERT_TRUE(ok(found));
  EXPECT_EQ((*found)->device, put.device);
  EXPECT_EQ((*found)->reported_json, put.reported_json);
  EXPECT_EQ((*found)->reported_version, 3u);
  EXPECT_EQ((*found)->reported_unix_ms, 4);
  EXPECT_EQ((*found)->reported_stream, put.reported_stream);
  EXPECT_EQ((*found)->reported_seq, put.reported_seq);
  EXPECT_EQ((*found)->desired_json, put.desired_json);
  EXPECT_EQ((*found)->desired_version, 5u);
  EXPECT_EQ((*found)->desired_unix_ms, 6);
  EXPECT_EQ((*found)->acknowledged_version, 4u);
  EXPECT_EQ((*found)->acknowledged_error, "no'");
  EXPECT_EQ((*found)->acknowledged_unix_ms, 7);
}

TEST_P(Twins, TakeNoVersionBack) {
  Twin twin{.device = id("a"), .reported_version = 2, .desired_version = 2};
  ASSERT_TRUE(ok(store_->put_twin(twin)));
  twin.acknowledged_version = 2;
  ASSERT_TRUE(ok(store_->put_twin(twin)));
  twin.desired_version = 3;
  twin.reported_version = 1;
  EXPECT_TRUE(failed_with(store_->put_twin(twin), Errc::timed_out));
  twin.reported_version = 2;
  twin.reported_json = R"({"a":1})";
  EXPECT_TRUE(failed_with(store_->put_twin(twin), Errc::timed_out));  // a second one of that version
  EXPECT_EQ((*store_->twin(id("a")))->desired_version, 2u);
  twin.reported_version = 3;
  EXPECT_TRUE(ok(store_->put_twin(twin)));
}

TEST_P(Timelines, ComeBackNewestFirst) {
  TimelineEntry odd = moment("a", 1);
  odd.kind = TimelineKind::registry;
  odd.fields = {{"what", "'; DELETE FROM timeline; --"}, {"by", std::string("x\0\xC3", 3) + std::string(253, '"')}};
  add({odd, moment("b", 2), moment("a", 3)}, 100);
  const auto entries = store_->timeline(id("a"), 0, 10);
  ASSERT_TRUE(ok(entries));
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].unix_ms, 3);
  EXPECT_EQ((*entries)[0].fields, moment("a", 3).fields);
  EXPECT_EQ((*entries)[0].epoch.value, 3u);
  EXPECT_GT((*entries)[0].number, (*entries)[1].number);
  EXPECT_EQ((*entries)[1].kind, TimelineKind::registry);
  EXPECT_EQ((*entries)[1].fields[0], odd.fields[0]);
  EXPECT_EQ((*entries)[1].fields[1].second, "x\xEF\xBF\xBD\xEF\xBF\xBD" + std::string(253, '"'));
  EXPECT_EQ(times("a", (*entries)[0].number), (Times{1}));
  EXPECT_EQ(times("a", 0, 1), (Times{3}));
}

TEST_P(Timelines, KeepTheNewestOfEachDevice) {
  add({moment("quiet", 1)}, 3);
  for (std::int64_t at = 1; at <= 10; ++at) add({moment("a", at), moment("b", 2 * at), moment("b", 2 * at + 1)}, 3);
  EXPECT_EQ(times("a"), (Times{10, 9, 8}));
  EXPECT_EQ(times("b"), (Times{21, 20, 19}));
  EXPECT_EQ(times("quiet"), (Times{1}));
  std::vector<TimelineEntry> many;
  for (std::int64_t at = 11; at <= 100; ++at) many.push_back(moment("a", at));
  add(many, 2);
  EXPECT_EQ(times("a"), (Times{100, 99}));
}

TEST_P(Nodes, AreLiveAsLongAsTheirLease) {
  ASSERT_TRUE(store_->nodes()->empty());
  ASSERT_TRUE(ok(store_->lease({"n1", "b1", "1.0", 5, 0, false}, std::chrono::seconds(60))));
  ASSERT_TRUE(ok(store_->lease({"n2", "b9", "1.0", 6, 0, false}, std::chrono::seconds(0))));
  ASSERT_TRUE(ok(store_->lease({"n1", "b2", "1.1", 7, 0, false}, std::chrono::seconds(60))));
  const auto nodes = store_->nodes();
  ASSERT_TRUE(ok(nodes));
  ASSERT_EQ(nodes->size(), 2u);
  EXPECT_EQ((*nodes)[0].name, "n1");
  EXPECT_EQ((*nodes)[0].boot_id, "b2");
  EXPECT_EQ((*nodes)[0].version, "1.1");
  EXPECT_EQ((*nodes)[0].started_unix_ms, 7);
  EXPECT_GT((*nodes)[0].lease_until_unix_ms, 60'000);
  EXPECT_TRUE((*nodes)[0].live);
  EXPECT_FALSE((*nodes)[1].live);
}

TEST_P(Plans, ReadNoListFromEndToEnd) {
  std::vector<ClaimRequest> claims;
  std::vector<PresenceEvent> events;
  std::vector<TimelineEntry> moments;
  ASSERT_TRUE(ok(store_->begin()));
  for (int i = 0; i < 3'000; ++i) {
    const std::string name = "dev-" + std::to_string(i);
    claims.push_back(request(name));
    events.push_back(i % 50 == 0 ? online(name, 1) : offline(name, 1));
    moments.push_back(moment(name, i));
    CommandEntry made = command("c-" + std::to_string(10'000 + i), name);  // ids sort by age
    made.idempotency_key = i % 2 == 0 ? "k" : "";
    ASSERT_TRUE(ok(store_->insert_command(made)));
    if (i % 2 == 0) continue;
    ASSERT_TRUE(ok(store_->advance_command(step(made.id, CommandState::succeeded, 1'000 + i))));
  }
  ASSERT_TRUE(ok(store_->claim(claims)));
  ASSERT_TRUE(ok(store_->add_presence(events)));
  ASSERT_TRUE(ok(store_->add_timeline(moments, 10)));
  for (int i = 0; i < 100; ++i) {
    DeviceEntry put = entry("dev-" + std::to_string(i));
    for (int k = 0; k < 4; ++k) {
      const std::string name = std::to_string(i) + "." + std::to_string(k);
      put.credentials.push_back(credential(name, 'a'));
      put.credentials.back().sha256.replace(0, name.size(), name);
    }
    ASSERT_TRUE(ok(store_->put_device(put, std::nullopt)));
  }
  for (int i = 1'000; i < 2'500; ++i) {
    ASSERT_TRUE(ok(store_->delete_device(id("dev-" + std::to_string(i)), std::nullopt)));
  }
  ASSERT_TRUE(ok(store_->commit()));
  engine_->analyze();
  const auto plans = store_->explain();
  ASSERT_TRUE(ok(plans));
  EXPECT_GE(plans->size(), 10u);
  for (const std::string& plan : *plans) {
    std::printf("%s\n", plan.c_str());
    EXPECT_FALSE(engine_->reads_all(plan)) << plan;
    EXPECT_EQ(plan.find('\n'), std::string::npos);
  }
}

constexpr auto k_engines = {EngineKind::sqlite, EngineKind::postgres};
INSTANTIATE_TEST_SUITE_P(Store, Twins, testing::ValuesIn(k_engines), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Store, Timelines, testing::ValuesIn(k_engines), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Store, Nodes, testing::ValuesIn(k_engines), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Store, Plans, testing::ValuesIn(k_engines), testing::PrintToStringParamName());

}  // namespace
}  // namespace fieldgate::store
