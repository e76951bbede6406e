// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/committer.h"

#include "adapters/spool/disk_format.h"
#include "tests/support/fakes.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/spool/spool_support.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

namespace fieldgate::spool {
namespace {

// What is on the disk after each single run of the writer: what a crash would leave.
class CommitterTest : public testing::Test {
 protected:
  explicit CommitterTest(std::uint64_t bytes_max = 4 << 20)
      : environment_(Environment::open(temp_.file("spool"), bytes_max).value()),
        letters_(*environment_, 64 << 20,
                 [this](std::uint64_t id, LmdbDeadLetters::Change change, LogPosition after) {
                   work_.notes.emplace_back(LetterChange{.id = id, .change = change, .after = after});
                 }),
        committer_(*environment_, letters_, clock_, probe_, 1, 256 << 10) {}

  void SetUp() override { ASSERT_TRUE(committer_.load()); }

  void append(std::size_t records, std::size_t payload_bytes = 7) {
    auto block = make_block(records, 1, 0, payload_bytes);
    block->set_first_position(next_);
    next_ = {block->last_position().value + 1};
    work_.blocks.push_back(std::move(block));
  }
  std::uint64_t bury(std::size_t payload_bytes = 10) {
    DeadLetter letter;
    letter.lane = "main";
    letter.device = "device";
    letter.payload = std::string(payload_bytes, 'x');
    return letters_.add(std::move(letter));
  }
  // As a process finds them that starts now.
  std::uint64_t letters_on_disk() {
    LmdbDeadLetters found(*environment_, 64 << 20, [](std::uint64_t, LmdbDeadLetters::Change, LogPosition) {});
    EXPECT_TRUE(found.load());
    return found.usage().empty() ? 0 : found.usage()[0].letters;
  }

  test::TempDir temp_;
  test::FakeClock clock_;
  SpoolProbe probe_;
  Work work_;
  std::unique_ptr<Environment> environment_;
  LmdbDeadLetters letters_;
  Committer committer_;
  LogPosition next_{1};
};

TEST_F(CommitterTest, GivesUpNoRecordBeforeItsDeadLetterIsWritten) {
  append(10);
  ASSERT_EQ(committer_.run(work_), Committer::Verdict::done);
  for (int i = 0; i < 2'500; ++i) bury();  // more than one transaction takes
  work_.trim_through = {10};
  int runs = 0;
  for (; !work_.notes.empty() && runs < 100; ++runs) {
    EXPECT_EQ(committer_.committed().trimmed, LogPosition{0}) << work_.notes.size() << " letters to be written";
    ASSERT_EQ(committer_.run(work_), Committer::Verdict::done);
  }
  EXPECT_GT(runs, 1);
  EXPECT_EQ(committer_.committed().trimmed, LogPosition{10});
  EXPECT_EQ(letters_on_disk(), 2'500U);
}

TEST_F(CommitterTest, GivesUpWhatWasDoneWithBeforeTheDeadLettersCame) {
  append(10);
  append(10);
  ASSERT_EQ(committer_.run(work_), Committer::Verdict::done);
  for (int i = 0; i < 2'500; ++i) bury();
  for (Note& note : work_.notes) std::get<LetterChange>(note).give_up_until = {10};
  work_.trim_through = {20};
  ASSERT_EQ(committer_.run(work_), Committer::Verdict::done);
  ASSERT_FALSE(work_.notes.empty());
  EXPECT_EQ(committer_.committed().trimmed, LogPosition{10});
}

TEST_F(CommitterTest, KeepsALetterUntilTheRecordThatTakesItsPlaceIsDurable) {
  const std::uint64_t early = bury();
  ASSERT_EQ(committer_.run(work_), Committer::Verdict::done);
  // The disk fills up, and the records of both replays find no room.
  while (committer_.run(work_) == Committer::Verdict::done) append(100, 2'000);
  const std::uint64_t late = bury();
  append(1);
  const LogPosition as{next_.value - 1};
  EXPECT_TRUE(letters_.replayed(early, as));
  EXPECT_TRUE(letters_.replayed(late, as));
  EXPECT_FALSE(letters_.find(early));
  EXPECT_FALSE(letters_.find(late));
  ASSERT_EQ(committer_.run(work_), Committer::Verdict::full);
  ASSERT_LT(committer_.committed().durable, as);
  EXPECT_EQ(letters_on_disk(), 2U);

  work_.trim_through = committer_.committed().durable;
  for (int i = 0; i < 20 && !work_.notes.empty(); ++i) {
    EXPECT_EQ(letters_on_disk(), 2U);
    committer_.run(work_);
  }
  EXPECT_GE(committer_.committed().durable, as);
  EXPECT_TRUE(work_.notes.empty());
  EXPECT_EQ(letters_on_disk(), 0U);
}

TEST_F(CommitterTest, DeletesALetterAtOnceThatNothingTakesThePlaceOf) {
  const std::uint64_t id = bury();
  ASSERT_EQ(committer_.run(work_), Committer::Verdict::done);
  while (committer_.run(work_) == Committer::Verdict::done) append(100, 2'000);
  EXPECT_TRUE(letters_.remove(id));
  EXPECT_EQ(committer_.run(work_), Committer::Verdict::full);
  EXPECT_EQ(letters_on_disk(), 0U);
}

}  // namespace
}  // namespace fieldgate::spool
