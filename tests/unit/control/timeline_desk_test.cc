// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/timeline_desk.h"

#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace fieldgate::control {
namespace {

using namespace std::chrono_literals;

struct TimelineDeskTest : testing::Test, StoreFixture {
  TimelineDeskTest() {
    EXPECT_TRUE(worker.open());
    for (const char* id : {"pump", "valve"}) {
      EXPECT_TRUE(ask<DeviceEntry>([id](DeviceStore& store) {
        return store.put_device(DeviceEntry{.id = device_id(id), .labels = {}, .note = {}}, std::nullopt);
      }));
    }
  }

  void note(const std::string& text, const std::string& device = "pump") {
    TimelineEntry entry{.device = device_id(device), .kind = TimelineKind::rejected, .unix_ms = clock.unix_ms()};
    entry.fields = {{"text", text}};
    desk.record(std::move(entry));
  }
  // Newest first.
  std::vector<std::string> texts(const std::string& device = "pump") {
    Answer<std::vector<TimelineEntry>> answer;
    desk.timeline(device_id(device), 0, 100, answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    std::vector<std::string> all;
    if (answer->has_error()) return {answer->error().code.message()};
    for (const TimelineEntry& entry : **answer) all.push_back(entry.fields.at(0).second);
    return all;
  }

  PresenceLog presence{worker, NodeRow{.name = "here", .boot_id = "b", .version = "0"}, clock, log, {}, membership};
  TimelineDesk desk{worker, presence, {.entries = 5, .refusals = 3, .queue_max = 10, .batch_max = 4}, log};
};

TEST_F(TimelineDeskTest, ShowsWhatWasRecordedNewestFirst) {
  note("one");
  note("two");
  note("other", "valve");
  EXPECT_EQ(texts(), (std::vector<std::string>{"two", "one"}));
  EXPECT_EQ(texts("valve"), (std::vector<std::string>{"other"}));
}

TEST_F(TimelineDeskTest, WritesByItselfWhenItsTimeHasCome) {
  note("one");
  settle();
  EXPECT_EQ(faults->commits, 2u) << "only the devices";
  pass(250ms);
  EXPECT_EQ(faults->commits, 3u);
}

TEST_F(TimelineDeskTest, WritesWhenABatchIsFull) {
  for (int i = 0; i < 4; ++i) note(std::to_string(i));
  settle();
  EXPECT_EQ(faults->commits, 3u);
}

TEST_F(TimelineDeskTest, KeepsTheNewestOfADevice) {
  for (int i = 0; i < 8; ++i) note(std::to_string(i));
  EXPECT_EQ(texts(), (std::vector<std::string>{"7", "6", "5", "4", "3"}));
}

TEST_F(TimelineDeskTest, KeepsWhatComesWhileTheStoreIsDownAndDropsWhatIsBeyondItsQueue) {
  faults->down = true;
  note("1");
  note("2");
  pass(250ms);
  note("3");
  pass(250ms);
  faults->down = false;
  pass(11s);
  EXPECT_EQ(texts(), (std::vector<std::string>{"3", "2", "1"}));
  faults->down = true;
  pass(1s);
  EXPECT_EQ(texts(), (std::vector<std::string>{make_error_code(Errc::unavailable).message()}));
  for (int i = 0; i < 15; ++i) note(std::to_string(100 + i));
  pass(1s);
  EXPECT_TRUE(log.has("timeline_entries_dropped count=5"));
  faults->down = false;
  pass(11s);
  EXPECT_EQ(texts().front(), "109");
}

TEST_F(TimelineDeskTest, TriesAgainWhereAnotherNodeWasInTheWay) {
  int times = 3;
  faults->error = Errc::timed_out;
  faults->look = [&](std::string_view call) {
    if (call == "add_timeline" && times-- > 0) faults->fail_at = faults->calls - 1;
  };
  note("1");
  for (int i = 0; i < 8; ++i) pass(250ms);
  EXPECT_LE(times, 0);
  EXPECT_EQ(texts(), (std::vector<std::string>{"1"}));
}

TEST_F(TimelineDeskTest, HandsInWhatIsLeftBeforeTheEnd) {
  for (int i = 0; i < 3; ++i) note(std::to_string(i));
  desk.hand_in();
  worker.stop(1s);
  const auto kept =
      ask<std::vector<TimelineEntry>>([](DeviceStore& store) { return store.timeline(device_id("pump"), 0, 10); });
  EXPECT_EQ(kept->size(), 3u);
}

TEST_F(TimelineDeskTest, DropsTheOneThatTheStoreCannotTakeAndNoOther) {
  // The batch fails; then its halves, which are in one transaction; then the first of them alone.
  for (int i = 0; i < 2; ++i) note(std::to_string(i));
  int failures = 0;
  faults->look = [&](std::string_view call) {
    if (call != "add_timeline" || failures == 3) return;
    ++failures;
    faults->error = Errc::malformed;
    faults->fail_at = faults->calls - 1;
  };
  pass(250ms);
  EXPECT_EQ(texts(), (std::vector<std::string>{"1"}));
  pass(250ms);
  EXPECT_TRUE(log.has("timeline_entry_not_taken"));
}

TEST_F(TimelineDeskTest, CutsWhatIsTooLongButNotWithinACharacter) {
  note(std::string(255, 'x') + "\xc3\xa4");
  EXPECT_EQ(texts(), (std::vector<std::string>{std::string(255, 'x')}));
}

TEST_F(TimelineDeskTest, KeepsTheNewestRefusalsApart) {
  for (int i = 0; i < 5; ++i) {
    desk.refused({.unix_ms = i, .reason = "tls", .address = "127.0.0.1:1", .detail = std::to_string(i)});
  }
  const auto all = desk.refusals(10);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].detail, "4");
  EXPECT_EQ(all[2].detail, "2");
  EXPECT_EQ(desk.refusals(1).size(), 1u);
  EXPECT_TRUE(texts().empty());
}

}  // namespace
}  // namespace fieldgate::control
