// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/lane_filter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fieldgate {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

LaneFilter filter(std::vector<std::string> devices, std::vector<std::string> labels = {},
                  std::vector<std::string> kinds = {}) {
  return LaneFilter::make({std::move(kinds), std::move(devices), std::move(labels)}).value();
}

std::string fault(const LaneFilterSettings& settings) {
  const auto made = LaneFilter::make(settings);
  if (made) return {};
  EXPECT_EQ(made.error().code, Errc::invalid_argument);
  return made.error().detail;
}

TEST(LaneFilter, WithoutConditionsTakesEverything) {
  for (const LaneFilter& everything : {LaneFilter(), filter({})}) {
    EXPECT_TRUE(everything.matches("meter-1", {}));
    for (std::size_t kind = 0; kind < k_record_kinds; ++kind) {
      EXPECT_TRUE(everything.takes(static_cast<RecordKind>(kind)));
    }
  }
}

TEST(LaneFilter, MatchesDevicePatternsOverTheWholeId) {
  const struct {
    const char* pattern;
    const char* device;
    bool matches;
  } cases[] = {
      {"meter-1", "meter-1", true},
      {"meter-1", "meter-12", false},
      {"meter-1", "a-meter-1", false},
      {"meter-?", "meter-1", true},
      {"meter-?", "meter-", false},
      {"meter-?", "meter-12", false},
      {"*", "x", true},
      {"meter-*", "meter-", true},
      {"meter-*", "Meter-1", false},
      {"*-1", "meter-1", true},
      {"*-1", "meter-12", false},
      {"a*b*c", "aXbYbc", true},
      {"a*b*c", "acb", false},
      {"*a?c*", "xxabxabcx", true},
      {"**a**", "a", true},
      {"a.b:c_d-*", "a.b:c_d-1", true},
      {"a.b", "axb", false},
      {"?*?", "a", false},
      {"?*?", "ab", true},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(filter({c.pattern}).matches(c.device, {}), c.matches) << c.pattern << " on " << c.device;
  }
}

TEST(LaneFilter, AnyDevicePatternWillDo) {
  const LaneFilter two = filter({"meter-*", "pump-?"});
  EXPECT_TRUE(two.matches("meter-77", {}));
  EXPECT_TRUE(two.matches("pump-1", {}));
  EXPECT_FALSE(two.matches("valve-1", {}));
}

TEST(LaneFilter, APatternOfStarsTakesNoLongerThanItsLengthTimesTheIds) {
  std::string pattern;
  for (int i = 0; i < 80; ++i) pattern += "*a";
  const LaneFilter costly = filter({pattern + "b"});
  EXPECT_FALSE(costly.matches(std::string(k_name_bytes_max, 'a'), {}));
}

TEST(LaneFilter, TestsLabelsForValueAndPresence) {
  const Labels labels = {{"env", ""}, {"rack", "a=b"}, {"site", "north"}};
  const struct {
    const char* condition;
    bool matches;
  } cases[] = {
      {"site=north", true}, {"site=south", false}, {"site=", false},       {"env=", true},    {"rack=a=b", true},
      {"gone=", false},     {"site!=south", true}, {"site!=north", false}, {"gone!=x", true}, {"env!=", false},
      {"site", true},       {"env", true},         {"gone", false},        {"!gone", true},   {"!site", false},
      {"!env", false},      {"sit", false},        {"site=nort", false},   {"Site", false},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(filter({}, {c.condition}).matches("meter-1", labels), c.matches) << c.condition;
  }
}

TEST(LaneFilter, EveryLabelConditionAndThePatternMustHold) {
  const LaneFilter strict = filter({"meter-*"}, {"site=north", "!retired"});
  EXPECT_TRUE(strict.matches("meter-1", {{"site", "north"}}));
  EXPECT_FALSE(strict.matches("pump-1", {{"site", "north"}}));
  EXPECT_FALSE(strict.matches("meter-1", {{"site", "south"}}));
  EXPECT_FALSE(strict.matches("meter-1", {{"retired", "2020"}, {"site", "north"}}));
  EXPECT_FALSE(strict.matches("meter-1", {}));
}

TEST(LaneFilter, TakesTheKindsThatAreNamed) {
  const LaneFilter some = filter({}, {}, {"event", "presence"});
  EXPECT_TRUE(some.takes(RecordKind::event));
  EXPECT_TRUE(some.takes(RecordKind::presence));
  EXPECT_FALSE(some.takes(RecordKind::telemetry));
  EXPECT_FALSE(some.takes(RecordKind::state));
  EXPECT_FALSE(some.takes(RecordKind::opaque));
  EXPECT_FALSE(some.takes(RecordKind::command_reply));
}

TEST(LaneFilter, SaysWhichElementIsWrongAndWhatItMustLookLike) {
  EXPECT_EQ(fault({{"event", "telemetries"}, {}, {}}),
            "'telemetries' is not a kind of record: one of telemetry, event, state, opaque, presence, command_reply");
  EXPECT_TRUE(fault({{}, {"meter-*", "me ter"}, {}}).starts_with("the device pattern 'me ter' may hold"));
  EXPECT_TRUE(fault({{}, {""}, {}}).starts_with("the device pattern '' must be 1 to 256 bytes long"));
  EXPECT_TRUE(fault({{}, {std::string(257, '*')}, {}}).ends_with("must be 1 to 256 bytes long"));
  EXPECT_TRUE(fault({{}, {}, {"site=north", "=x"}}).starts_with("the label condition '=x' must be KEY=VALUE"));
}

TEST(LaneFilter, RefusesLabelConditionsThatSayNothing) {
  const std::string key(64, 'k');
  for (const std::string& good :
       {std::string("a"), std::string("!a"), std::string("a="), std::string("a!="), std::string("a=!"),
        std::string("a==b"), std::string("a!=!="), key, "!" + key, key + "=" + std::string(256, 'v')}) {
    EXPECT_EQ(label_selector_fault(good), "") << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("!"), std::string("="), std::string("=x"), std::string("!=x"), std::string("!!a"),
        std::string("!a=b"), std::string("!a!=b"), std::string("a!"), std::string("a!b"), std::string("a!b=c"),
        key + "k", "!" + key + "k", "a=" + std::string(257, 'v')}) {
    EXPECT_NE(label_selector_fault(bad), "") << bad;
  }
}

TEST(LaneFilters, ClearTheSlotsOfLanesThatDoNotWantTheDevice) {
  const LaneFilters filters({{0, filter({"meter-*"})}, {3, filter({}, {"site=north"})}, {31, LaneFilter()}});
  EXPECT_EQ(filters.match("meter-1", {{"site", "north"}}), k_every_lane);
  EXPECT_EQ(filters.match("meter-1", {}), k_every_lane & ~(LaneSet{1} << 3));
  EXPECT_EQ(filters.match("pump-1", {{"site", "north"}}), k_every_lane & ~LaneSet{1});
  EXPECT_EQ(filters.match("pump-1", {}), k_every_lane & ~LaneSet{0b1001});
  EXPECT_EQ(LaneFilters().match("pump-1", {}), k_every_lane);
}

}  // namespace
}  // namespace fieldgate
