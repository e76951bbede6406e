// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/batcher.h"

#include "adapters/northbound/record_batch.h"
#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/lane_fakes.h"
#include "tests/support/northbound_records.h"

#include <gtest/gtest.h>

#include <map>

namespace fieldgate::mqtt {
namespace {

using northbound::record_bytes;
using test::OwnedRecord;
using test::telemetry;

using std::chrono::milliseconds;

struct BatcherTest : testing::Test {
  Batcher make(BatchLimits limits) { return Batcher(std::move(limits), topics); }
  v1::RecordBatch parse(const Message& message) {
    v1::RecordBatch batch;
    EXPECT_TRUE(batch.ParseFromString(message.payload));
    return batch;
  }
  const Topics topics = Topics::make("p", "gw-1").value();
  test::HandClock clock;
};

TEST_F(BatcherTest, ClosesBeforeTheRecordThatWouldNotFit) {
  const OwnedRecord record = telemetry("pump-7", 1);
  const std::size_t one = record_bytes(record.view());
  auto batcher = make({1, 3 * one + 10, 500, milliseconds(5), "gw-1"});
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_FALSE(batcher.add(record.view(), {0, i}, clock.now()));
  const auto closed = batcher.add(record.view(), {0, 3}, clock.now());
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->records.size(), 3U);
  EXPECT_LE(closed->payload.size(), 3 * one + 10);
  EXPECT_EQ(parse(*closed).records_size(), 3);
  EXPECT_EQ(parse(*closed).node(), "gw-1");
  EXPECT_EQ(batcher.take_oldest()->records.front().index, 3U);
}

TEST_F(BatcherTest, ClosesAtTheNumberOfRecords) {
  auto batcher = make({1, 1 << 20, 2, milliseconds(5), "gw-1"});
  const OwnedRecord record = telemetry("pump-7", 1);
  EXPECT_FALSE(batcher.add(record.view(), {0, 0}, clock.now()));
  EXPECT_FALSE(batcher.add(record.view(), {0, 1}, clock.now()));
  EXPECT_EQ(batcher.add(record.view(), {0, 2}, clock.now())->records.size(), 2U);
}

TEST_F(BatcherTest, GivesARecordLargerThanABatchOneOfItsOwn) {
  auto batcher = make({1, 64, 500, milliseconds(5), "gw-1"});
  const OwnedRecord large = telemetry("pump-7", 1, std::string(200, 'x'));
  EXPECT_FALSE(batcher.add(large.view(), {0, 0}, clock.now()));
  EXPECT_EQ(batcher.add(large.view(), {0, 1}, clock.now())->records.size(), 1U);
}

TEST_F(BatcherTest, HoldsABatchForItsLingerAndThenLetsItGrowUntilTaken) {
  auto batcher = make({1, 1 << 20, 500, milliseconds(5), "gw-1"});
  const OwnedRecord record = telemetry("pump-7", 1);
  EXPECT_FALSE(batcher.due());
  batcher.add(record.view(), {0, 0}, clock.now());
  EXPECT_EQ(batcher.due(), clock.now() + milliseconds(5));
  clock.passed = milliseconds(4);
  EXPECT_FALSE(batcher.take_due(clock.now()));
  clock.passed = milliseconds(50);
  batcher.add(record.view(), {0, 1}, clock.now());
  EXPECT_EQ(batcher.take_due(clock.now())->records.size(), 2U);
  EXPECT_TRUE(batcher.empty());
}

TEST_F(BatcherTest, LetsAllBatchesGoOnceTheFirstRecordOfAnyHasWaited) {
  auto batcher = make({16, 1 << 20, 500, milliseconds(5), "gw-1"});
  for (std::uint32_t i = 0; i < 40; ++i) {
    const OwnedRecord record = telemetry("d" + std::to_string(i), 1);
    batcher.add(record.view(), {0, i}, clock.now());
    if (i == 0) clock.passed = milliseconds(4);
  }
  EXPECT_FALSE(batcher.take_due(clock.now()));
  clock.passed = milliseconds(5);
  std::size_t records = 0;
  while (const auto batch = batcher.take_due(clock.now())) records += batch->records.size();
  EXPECT_EQ(records, 40U);
  EXPECT_TRUE(batcher.empty());

  // Who comes then waits anew.
  const OwnedRecord next = telemetry("d1", 2);
  batcher.add(next.view(), {0, 40}, clock.now());
  EXPECT_EQ(batcher.due(), clock.now() + milliseconds(5));
}

// A broker that takes less than comes in: batches are to become larger, not to leave sooner.
TEST_F(BatcherTest, LetsABatchThatIsBegunWhileOthersLeaveWaitItsTime) {
  auto batcher = make({2, 1 << 20, 500, milliseconds(5), "gw-1"});
  std::string a = "a0";
  std::string b = "b0";
  for (int i = 1; stable_hash(a) % 2 == stable_hash(b) % 2; ++i) b = "b" + std::to_string(i);
  const OwnedRecord of_a = telemetry(a, 1);
  const OwnedRecord of_b = telemetry(b, 1);
  batcher.add(of_a.view(), {0, 0}, clock.now());
  batcher.add(of_b.view(), {0, 1}, clock.now());
  clock.passed = milliseconds(5);
  EXPECT_EQ(batcher.take_due(clock.now())->records.front().index, 0U);
  batcher.add(of_a.view(), {0, 2}, clock.now());
  EXPECT_EQ(batcher.take_due(clock.now())->records.front().index, 1U);
  EXPECT_FALSE(batcher.take_due(clock.now())) << "it has only just come";
  EXPECT_EQ(batcher.due(), clock.now() + milliseconds(5));
}

TEST_F(BatcherTest, CountsTheWaitFromWhatItIsTold) {
  auto batcher = make({16, 1 << 20, 500, milliseconds(5), "gw-1"});
  const OwnedRecord late = telemetry("d1", 1);
  batcher.add(late.view(), {0, 0}, clock.now() - milliseconds(4));
  EXPECT_EQ(batcher.due(), clock.now() + milliseconds(1));
}

TEST_F(BatcherTest, KeepsADeviceInOnePartitionAndInOrder) {
  auto batcher = make({4, 400, 500, milliseconds(5), "gw-1"});
  std::vector<Message> messages;
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    const OwnedRecord record = telemetry("d" + std::to_string(i % 17), i);
    if (auto closed = batcher.add(record.view(), {0, i}, clock.now())) messages.push_back(*std::move(closed));
  }
  while (auto left = batcher.take_oldest()) messages.push_back(*std::move(left));

  std::map<std::string, std::string> topic_of;
  std::map<std::string, std::uint64_t> last_of;
  int records = 0;
  for (const Message& message : messages) {
    EXPECT_EQ(message.properties.front().second, std::to_string(message.records.size()));
    const auto batch = parse(message);
    for (const auto& record : batch.records()) {
      ++records;
      EXPECT_EQ(topic_of.emplace(record.device_id(), message.topic).first->second, message.topic);
      auto& last = last_of[record.device_id()];
      EXPECT_TRUE(last == 0 || record.seq() > last);
      last = record.seq();
    }
  }
  EXPECT_EQ(records, 1'000);
}

TEST_F(BatcherTest, RebuildsAPartOfABatch) {
  auto batcher = make({1, 1 << 20, 500, milliseconds(5), "gw-1"});
  const OwnedRecord one = telemetry("a", 1);
  const OwnedRecord two = telemetry("a", 2);
  const std::vector<RecordRef> refs = {{0, 1}};
  const Message half =
      batcher.rebuild("p/batches/0", refs, [&](RecordRef ref) { return ref.index == 1 ? two.view() : one.view(); });
  EXPECT_EQ(half.topic, "p/batches/0");
  ASSERT_EQ(parse(half).records_size(), 1);
  EXPECT_EQ(parse(half).records(0).seq(), 2U);
}

}  // namespace
}  // namespace fieldgate::mqtt
