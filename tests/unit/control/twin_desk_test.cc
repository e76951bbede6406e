// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/twin_desk.h"

#include "tests/unit/control/desk_world.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

struct TwinDeskTest : testing::Test, World {
  TwinDeskTest() { add("pump"); }

  Result<Twin> wish(const std::string& text, bool patch = false, std::optional<std::uint64_t> expected = {},
                    const std::string& device = "pump") {
    Asked<Twin> answer;
    twins->set_desired(device_id(device), text, patch, expected, "api:ann", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return *answer;
  }
  Result<Twin> read(const std::string& device = "pump") {
    Asked<Twin> answer;
    twins->get(device_id(device), answer.reply());
    settle();
    return *answer;
  }
  void reports(const std::string& text, bool full = false) { says("pump", ReportedReply{text, full}); }
  void acknowledges(std::uint64_t version, const std::string& error = {}) {
    says("pump", DesiredAckReply{version, error});
  }
  // "version full|delta json"
  std::string last() const {
    if (received.empty()) return "nothing";
    const DesiredFrame& frame = received.back().desired();
    return std::to_string(frame.version) + (frame.full ? " full " : " delta ") + frame.json;
  }
  bool written_down(const std::string& field, const std::string& part) const {
    for (const auto& line : recorder.entries) {
      for (const auto& [name, value] : line.fields) {
        if (name == field && value.find(part) != std::string::npos) return true;
      }
    }
    return false;
  }
};

// --- reported

TEST_F(TwinDeskTest, IsEmptyUntilSomebodySaysSomething) {
  const auto twin = read();
  EXPECT_EQ(twin->reported_json, "{}");
  EXPECT_EQ(twin->reported_version, 0u);
  EXPECT_EQ(twin->desired_version, 0u);
  EXPECT_EQ(read("stranger").error().code, Errc::not_found);
}

TEST_F(TwinDeskTest, TakesWhatTheDeviceReportsWholeAndInParts) {
  reports(R"({"speed":1,"mode":"auto"})", true);
  reports(R"({"speed":2,"mode":null})");
  EXPECT_EQ(read()->reported_json, R"({"speed":2})");
  EXPECT_EQ(read()->reported_version, 2u);
  EXPECT_EQ(read()->reported_unix_ms, clock.unix_ms());
  EXPECT_EQ(twin_changes.size(), 2u);
  reports("{}", true);
  EXPECT_EQ(read()->reported_json, "{}");
}

TEST_F(TwinDeskTest, MakesNoVersionOfAReportThatChangesNothing) {
  reports("{}", true);
  EXPECT_EQ(read()->reported_version, 1u) << "but the first word is one";
  reports(R"({"speed":1})");
  reports(R"({"speed":1})");
  EXPECT_EQ(read()->reported_version, 2u);
  EXPECT_EQ(twin_changes.size(), 2u);
}

TEST_F(TwinDeskTest, ChangesNothingWhenTheLogIsReadAgain) {
  reports(R"({"speed":1})");
  reports(R"({"speed":2})");
  acknowledges(0);
  const auto before = read();
  journalled = 0;
  settle();
  EXPECT_EQ(read()->reported_version, before->reported_version);
  EXPECT_EQ(read()->reported_json, R"({"speed":2})");
  EXPECT_EQ(twin_changes.size(), 2u);
}

// A device that lost its memory begins another stream, in a connection of its own.
TEST_F(TwinDeskTest, ShowsNothingOfAnEarlierStreamWhenTheLogIsReadAgain) {
  connect("pump");
  reports(R"({"speed":1})");
  reports(R"({"speed":2})");
  connect("pump");
  journal.push_back(
      {device_id("pump"), StreamId{77}, Seq{1}, online.at("pump"), 1'000, ReportedReply{R"({"speed":3})", false}});
  settle();
  const auto before = read();
  ASSERT_EQ(before->reported_json, R"({"speed":3})");
  twin_changes.clear();
  journalled = 0;
  settle();
  EXPECT_EQ(read()->reported_version, before->reported_version);
  EXPECT_TRUE(twin_changes.empty());
}

TEST_F(TwinDeskTest, LeavesTheDocumentAsItWasIfAReportMakesItTooLargeAndSaysSo) {
  reports(R"({"speed":1})");
  reports(R"({"text":")" + std::string(190, 'x') + R"("})");
  EXPECT_EQ(read()->reported_json, R"({"speed":1})");
  EXPECT_EQ(read()->reported_version, 1u);
  EXPECT_TRUE(written_down("refused", "at most 200 are kept"));
}

TEST_F(TwinDeskTest, PassesOverWhatADeviceSaysThatIsNotRegisteredAnyMore) {
  ASSERT_TRUE(store->delete_device(device_id("pump"), std::nullopt));
  reports(R"({"speed":1})");
  EXPECT_FALSE(store->twin(device_id("pump"))->has_value());
}

// --- desired

TEST_F(TwinDeskTest, TakesAWishWholeAndInParts) {
  EXPECT_EQ(wish(R"({"speed":1,"mode":"auto"})")->desired_version, 1u);
  const auto twin = wish(R"({"mode":null,"limit":5})", true);
  EXPECT_EQ(twin->desired_json, R"({"speed":1,"limit":5})");
  EXPECT_EQ(twin->desired_version, 2u);
  EXPECT_EQ(wish(R"({"limit":5})", true)->desired_version, 2u) << "it is as it was";
  EXPECT_EQ(twin_changes.size(), 2u);
  EXPECT_TRUE(written_down("by", "api:ann"));
}

TEST_F(TwinDeskTest, TakesAWishOnlyForTheVersionThatWasSeen) {
  wish(R"({"speed":1})", false, 0);
  EXPECT_EQ(wish(R"({"speed":2})", false, 0).error().code, Errc::conflict);
  EXPECT_EQ(wish(R"({"speed":2})", true, 1)->desired_version, 2u);
}

TEST_F(TwinDeskTest, RefusesWhatCannotBeADocument) {
  EXPECT_EQ(wish("[]").error().code, Errc::invalid_argument);
  EXPECT_EQ(wish("{", true).error().code, Errc::invalid_argument);
  EXPECT_EQ(wish(R"({"a":")" + std::string(200, 'x') + R"("})").error().code, Errc::too_large);
  wish(R"({"a":")" + std::string(150, 'x') + R"("})");
  EXPECT_EQ(wish(R"({"b":")" + std::string(100, 'x') + R"("})", true).error().code, Errc::too_large);
  EXPECT_EQ(wish("{}", false, {}, "stranger").error().code, Errc::not_found);
  faults->down = true;
  EXPECT_EQ(wish("{}").error().code, Errc::unavailable);
}

// --- to the device

TEST_F(TwinDeskTest, TellsTheWholeUntilTheDeviceHasTheVersionBefore) {
  connect("pump");
  wish(R"({"speed":1})");
  EXPECT_EQ(last(), R"(1 full {"speed":1})");
  wish(R"({"mode":"auto"})", true);
  EXPECT_EQ(last(), R"(2 full {"speed":1,"mode":"auto"})");
  acknowledges(2);
  wish(R"({"mode":"off"})", true);
  EXPECT_EQ(last(), R"(3 delta {"mode":"off"})");
  acknowledges(3, "no such mode");
  wish(R"({"mode":"on"})", true);
  EXPECT_EQ(last(), R"(4 full {"speed":1,"mode":"on"})") << "it did not take the one before";
}

TEST_F(TwinDeskTest, TellsTheWholeWhereNoPatchCanSayIt) {
  connect("pump");
  wish(R"({"a":1})");
  acknowledges(1);
  wish(R"({"a":null})");
  EXPECT_EQ(last(), R"(2 full {"a":null})");
}

TEST_F(TwinDeskTest, TellsADeviceThatComesWhatItHasNotAcknowledged) {
  wish(R"({"speed":1})");
  EXPECT_TRUE(received.empty());
  connect("pump");
  EXPECT_EQ(last(), R"(1 full {"speed":1})");
  connect("pump");
  EXPECT_EQ(received.size(), 2u);
  acknowledges(1);
  connect("pump");
  EXPECT_EQ(received.size(), 2u);
}

TEST_F(TwinDeskTest, TellsAlsoAfterARestart) {
  connect("pump");
  wish(R"({"speed":1})");
  acknowledges(1);
  wish(R"({"speed":2})");
  received.clear();
  restart();
  connect("pump");
  EXPECT_EQ(last(), R"(2 full {"speed":2})");
}

TEST_F(TwinDeskTest, TriesABusyConnectionAgainWithWhatIsWishedThen) {
  connect("pump");
  instead = Delivery::busy;
  wish(R"({"speed":1})");
  wish(R"({"speed":2})");
  instead.reset();
  pass(5s);
  EXPECT_EQ(last(), R"(2 full {"speed":2})");
}

TEST_F(TwinDeskTest, TriesABusyConnectionAgainOnceHoweverOftenTheWishChanged) {
  connect("pump");
  instead = Delivery::busy;
  for (int i = 1; i <= 5; ++i) wish(R"({"speed":)" + std::to_string(i) + "}");
  instead.reset();
  pass(60s);
  EXPECT_EQ(received.size(), 1U);
  EXPECT_EQ(last(), R"(5 full {"speed":5})");
  // Nor does a timer of the connection before keep the next one from trying.
  instead = Delivery::busy;
  wish(R"({"speed":6})");
  connect("pump");
  instead.reset();
  pass(60s);
  EXPECT_EQ(received.size(), 2U);
  EXPECT_EQ(last(), R"(6 full {"speed":6})");
}

TEST_F(TwinDeskTest, SaysOfWhatADeviceCannotTakeThatItWasNotSent) {
  connect("pump");
  instead = Delivery::too_large;
  wish(R"({"speed":1})");
  EXPECT_TRUE(written_down("not_sent", "receive_max_bytes"));
  instead = Delivery::unsupported;
  wish(R"({"speed":2})");
  EXPECT_TRUE(written_down("not_sent", "capabilities"));
  EXPECT_EQ(read()->acknowledged_version, 0u);
  EXPECT_EQ(read()->acknowledged_error, "");
}

TEST_F(TwinDeskTest, TriesAgainWhenTheStoreWasDownAsTheDeviceCame) {
  wish(R"({"speed":1})");
  faults->down = true;
  connect("pump");
  pass(1s);
  EXPECT_TRUE(received.empty());
  faults->down = false;
  pass(25s);
  EXPECT_EQ(last(), R"(1 full {"speed":1})");
}

// --- acknowledged

TEST_F(TwinDeskTest, KeepsTheDevicesWordOnTheVersion) {
  connect("pump");
  wish(R"({"speed":1})");
  wish(R"({"speed":2})");
  acknowledges(1, "too slow");
  EXPECT_EQ(read()->acknowledged_version, 1u);
  EXPECT_EQ(read()->acknowledged_error, "too slow");
  acknowledges(2);
  EXPECT_EQ(read()->acknowledged_version, 2u);
  EXPECT_EQ(read()->acknowledged_error, "");
  acknowledges(1);
  EXPECT_EQ(read()->acknowledged_version, 2u) << "it comes late";
  acknowledges(7);
  EXPECT_EQ(read()->acknowledged_version, 2u) << "there is no such version";
  EXPECT_TRUE(written_down("error", "too slow"));
}

}  // namespace
}  // namespace fieldgate::control
