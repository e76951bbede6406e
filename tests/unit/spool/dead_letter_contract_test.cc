// SPDX-License-Identifier: Apache-2.0
//
// What every store of dead letters promises, whatever it is made of.
#include "adapters/spool/memory_dead_letters.h"
#include "tests/unit/spool/lmdb_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate::spool {
namespace {

enum class Kind : std::uint8_t {
  memory,
  disk,          // letters may be on the disk or on their way
  disk_waiting,  // none of them gets there
};

DeadLetter letter_of(const std::string& lane, const std::string& device = "device", std::size_t payload_bytes = 10) {
  DeadLetter letter;
  letter.lane = lane;
  letter.kind = RecordKind::event;
  letter.device = device;
  letter.name = "overheated";
  letter.stream = {1};
  letter.seq = {2};
  letter.epoch = {3};
  letter.received_unix_ms = 4;
  letter.refused_unix_ms = 5;
  letter.target = "a/topic";
  letter.reason = "payload_format_invalid";
  letter.detail = "no";
  letter.payload = std::string(payload_bytes, '\0');
  return letter;
}

DeadLetterQuery query(const std::string& lane, const std::string& device = "", std::size_t limit = 100,
                      std::uint64_t after = 0) {
  return {.lane = lane, .device = device, .after = after, .limit = limit};
}

std::string name_of(const testing::TestParamInfo<Kind>& of) {
  switch (of.param) {
    case Kind::memory: return "memory";
    case Kind::disk: return "disk";
    case Kind::disk_waiting: return "disk_waiting";
  }
  return "unknown";
}

class DeadLetterContract : public LmdbFixture, public testing::WithParamInterface<Kind> {
 protected:
  DeadLetterStore& make(std::uint64_t bytes_max = 1 << 20) {
    if (GetParam() == Kind::memory) {
      memory_ = std::make_unique<MemoryDeadLetters>(bytes_max);
      return *memory_;
    }
    settings_.dead_letter_bytes_max = bytes_max;
    if (GetParam() == Kind::disk_waiting) settings_.commit_every = std::chrono::hours(1);
    return start().dead_letters();
  }
  // Whatever is going to be on the disk is there.
  void settle() {
    if (GetParam() != Kind::disk) return;
    const std::uint64_t next = spool_->append(make_block(1))->value;
    EXPECT_TRUE(durable(next));
  }
  static DeadLetterUsage usage_of(const DeadLetterStore& store, const std::string& lane) {
    const auto all = store.usage();
    const auto at = std::ranges::find(all, lane, &DeadLetterUsage::lane);
    return at == all.end() ? DeadLetterUsage{} : *at;
  }
  static std::vector<std::uint64_t> ids(const DeadLetterPage& page) {
    std::vector<std::uint64_t> found;
    for (const DeadLetter& letter : page.letters) found.push_back(letter.id);
    return found;
  }

  std::unique_ptr<MemoryDeadLetters> memory_;
};

TEST_P(DeadLetterContract, BeginsEmpty) {
  const DeadLetterStore& store = make();
  EXPECT_TRUE(store.list({}).letters.empty());
  EXPECT_EQ(store.list({}).next_after, 0U);
  EXPECT_FALSE(store.find(1));
  EXPECT_TRUE(store.usage().empty());
}

TEST_P(DeadLetterContract, KeepsEveryPartOfALetter) {
  DeadLetterStore& store = make();
  const std::uint64_t id = store.add(letter_of("main"));
  EXPECT_GT(id, 0U);
  settle();
  const auto found = store.find(id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, id);
  EXPECT_EQ(found->lane, "main");
  EXPECT_EQ(found->kind, RecordKind::event);
  EXPECT_EQ(found->device, "device");
  EXPECT_EQ(found->name, "overheated");
  EXPECT_EQ(found->stream, StreamId{1});
  EXPECT_EQ(found->seq, Seq{2});
  EXPECT_EQ(found->epoch, Epoch{3});
  EXPECT_EQ(found->received_unix_ms, 4);
  EXPECT_EQ(found->refused_unix_ms, 5);
  EXPECT_EQ(found->target, "a/topic");
  EXPECT_EQ(found->reason, "payload_format_invalid");
  EXPECT_EQ(found->detail, "no");
  EXPECT_EQ(found->payload, std::string(10, '\0'));
}

TEST_P(DeadLetterContract, ListsByRisingIdInPages) {
  DeadLetterStore& store = make();
  std::vector<std::uint64_t> added;
  for (int i = 0; i < 5; ++i) {
    added.push_back(store.add(letter_of("main")));
    if (i == 2) settle();
  }
  EXPECT_TRUE(std::ranges::is_sorted(added));
  const DeadLetterPage first = store.list(query("", "", 3));
  EXPECT_EQ(ids(first), (std::vector{added[0], added[1], added[2]}));
  EXPECT_EQ(first.next_after, added[2]);
  const DeadLetterPage second = store.list(query("", "", 3, first.next_after));
  EXPECT_EQ(ids(second), (std::vector{added[3], added[4]}));
  EXPECT_EQ(second.next_after, 0U);
  EXPECT_EQ(store.list(query("", "", 5)).next_after, 0U);  // full, but the last
}

TEST_P(DeadLetterContract, ListsThoseOfALaneOrADevice) {
  DeadLetterStore& store = make();
  store.add(letter_of("main", "one"));
  const std::uint64_t wanted = store.add(letter_of("hook", "two"));
  store.add(letter_of("main", "two"));
  settle();
  EXPECT_EQ(store.list(query("main")).letters.size(), 2U);
  EXPECT_EQ(store.list(query("", "two")).letters.size(), 2U);
  EXPECT_EQ(ids(store.list(query("hook", "two"))), std::vector{wanted});
  EXPECT_TRUE(store.list(query("other")).letters.empty());
}

TEST_P(DeadLetterContract, FindsTheFewOfADeviceAmongMany) {
  DeadLetterStore& store = make();
  std::vector<std::uint64_t> wanted;
  for (int i = 0; i < 1'000; ++i) {
    const std::uint64_t id = store.add(letter_of("main", i % 400 == 399 ? "rare" : "common"));
    if (i % 400 == 399) wanted.push_back(id);
  }
  settle();
  EXPECT_EQ(ids(store.list(query("", "rare", 2))), wanted);
  EXPECT_EQ(store.list(query("", "rare", 2)).next_after, 0U);
}

TEST_P(DeadLetterContract, RemovesOnce) {
  DeadLetterStore& store = make();
  const std::uint64_t early = store.add(letter_of("main"));
  settle();
  const std::uint64_t late = store.add(letter_of("main"));
  EXPECT_TRUE(store.remove(early));
  EXPECT_TRUE(store.remove(late));
  EXPECT_FALSE(store.remove(early));
  EXPECT_FALSE(store.find(late));
  settle();
  EXPECT_TRUE(store.list({}).letters.empty());
  EXPECT_EQ(usage_of(store, "main").letters, 0U);
  EXPECT_EQ(usage_of(store, "main").bytes, 0U);
  EXPECT_EQ(usage_of(store, "main").evicted, 0U);
}

TEST_P(DeadLetterContract, GivesUpTheOldestForWantOfRoomAndCountsIt) {
  DeadLetterStore& store = make(10'000);
  for (int i = 0; i < 4; ++i) store.add(letter_of("old", "device", 2'000));
  settle();
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) last = store.add(letter_of("new", "device", 2'000));
  settle();
  const DeadLetterUsage old = usage_of(store, "old");
  EXPECT_EQ(old.letters + old.evicted, 4U);
  EXPECT_GT(old.evicted, 0U);
  EXPECT_EQ(usage_of(store, "new").letters, 3U);
  EXPECT_EQ(usage_of(store, "new").evicted, 0U);
  EXPECT_LE(old.bytes + usage_of(store, "new").bytes, 10'000U);
  const auto kept = ids(store.list({}));
  EXPECT_EQ(kept.size(), old.letters + 3);
  EXPECT_EQ(kept.back(), last);
}

TEST_P(DeadLetterContract, GivesUpALetterThatNoBudgetHoldsAndNoOther) {
  DeadLetterStore& store = make(10'000);
  const std::uint64_t kept = store.add(letter_of("main"));
  const std::uint64_t huge = store.add(letter_of("main", "device", 20'000));
  EXPECT_GT(huge, kept);
  EXPECT_FALSE(store.find(huge));
  EXPECT_TRUE(store.find(kept));
  EXPECT_EQ(usage_of(store, "main").evicted, 1U);
}

INSTANTIATE_TEST_SUITE_P(Every, DeadLetterContract, testing::Values(Kind::memory, Kind::disk, Kind::disk_waiting),
                         name_of);

using LmdbDeadLettersTest = LmdbFixture;

TEST_F(LmdbDeadLettersTest, KeepsLettersOverARestart) {
  const std::uint64_t one = start().dead_letters().add(letter_of("main", "one", 5'000));
  const std::uint64_t two = spool_->dead_letters().add(letter_of("hook", "two"));
  const auto before = spool_->dead_letters().usage();
  restart();
  EXPECT_EQ(spool_->dead_letters().find(one)->payload.size(), 5'000U);
  EXPECT_EQ(spool_->dead_letters().find(two)->device, "two");
  const auto after = spool_->dead_letters().usage();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].lane, before[i].lane);
    EXPECT_EQ(after[i].letters, before[i].letters);
    EXPECT_EQ(after[i].bytes, before[i].bytes);
  }
}

TEST_F(LmdbDeadLettersTest, NeverGivesAnIdTwice) {
  const std::uint64_t id = start().dead_letters().add(letter_of("main"));
  restart();
  EXPECT_TRUE(spool_->dead_letters().remove(id));
  restart();
  EXPECT_FALSE(spool_->dead_letters().find(id));
  EXPECT_GT(spool_->dead_letters().add(letter_of("main")), id);
}

TEST_F(LmdbDeadLettersTest, GivesUpTheOldestWhereTheBudgetHasShrunk) {
  start();
  std::uint64_t last = 0;
  for (int i = 0; i < 10; ++i) last = spool_->dead_letters().add(letter_of("main", "device", 2'000));
  shut();
  settings_.dead_letter_bytes_max = 5'000;
  start();
  EXPECT_EQ(spool_->dead_letters().usage()[0].letters, 2U);
  EXPECT_EQ(spool_->dead_letters().usage()[0].evicted, 8U);
  restart();
  EXPECT_EQ(spool_->dead_letters().usage()[0].letters, 2U);
  EXPECT_EQ(spool_->dead_letters().usage()[0].evicted, 0U);  // gone from the disk as well
  EXPECT_TRUE(spool_->dead_letters().find(last));
}

}  // namespace
}  // namespace fieldgate::spool
