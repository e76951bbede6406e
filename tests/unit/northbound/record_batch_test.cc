// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/record_batch.h"

#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/northbound_records.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

namespace fieldgate::northbound {
namespace {

using test::OwnedRecord;
using test::telemetry;

TEST(RecordBatch, ReadsBackThroughProtobufAsWhatWasPutIn) {
  std::vector<OwnedRecord> records;
  for (const std::uint64_t seq : {std::uint64_t{1}, std::uint64_t{127}, std::uint64_t{128}, ~std::uint64_t{0}}) {
    records.push_back(telemetry("pump-" + std::to_string(seq), seq));
    records.back().stream = seq;
  }
  v1::PresenceEvent presence;
  presence.set_online(true);
  presence.set_epoch(99);
  records.push_back({"pump-1", "online", presence.SerializeAsString(), RecordKind::presence, 0, 0});

  std::string bytes;
  for (const OwnedRecord& record : records) {
    const std::size_t before = bytes.size();
    append_record(record.view(), bytes);
    EXPECT_EQ(bytes.size() - before, record_bytes(record.view()));
  }
  append_batch_node("gw-1", bytes);

  v1::RecordBatch batch;
  ASSERT_TRUE(batch.ParseFromString(bytes));
  EXPECT_EQ(batch.node(), "gw-1");
  ASSERT_EQ(batch.records_size(), 5);
  for (int i = 0; i < 4; ++i) {
    const auto& got = batch.records(i);
    const auto& put = records[static_cast<std::size_t>(i)];
    EXPECT_EQ(got.device_id(), put.device);
    EXPECT_EQ(got.stream_id(), put.stream);
    EXPECT_EQ(got.seq(), put.seq);
    EXPECT_EQ(got.received_unix_ms(), 1'700'000'000'000);
    v1::DeviceFrame frame;
    ASSERT_TRUE(frame.ParseFromString(put.payload));
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(got.frame(), frame));
  }
  EXPECT_EQ(batch.records(4).presence().epoch(), 99U);
  EXPECT_EQ(batch.records(4).seq(), 0U);
}

TEST(RecordBatch, WritesTheVeryBytesThatProtobufWould) {
  const OwnedRecord record = telemetry("pump-7", 300, std::string(200, 'm'));
  std::string bytes;
  append_record(record.view(), bytes);
  append_batch_node("gw-1", bytes);
  v1::RecordBatch batch;
  ASSERT_TRUE(batch.ParseFromString(bytes));
  EXPECT_EQ(batch.SerializeAsString(), bytes);
}

TEST(RecordBatch, ShowsWhichBodyItHasEvenWhenThatIsEmpty) {
  const OwnedRecord record{"a", "offline", "", RecordKind::presence, 0, 0};
  std::string bytes;
  append_record(record.view(), bytes);
  v1::RecordBatch batch;
  ASSERT_TRUE(batch.ParseFromString(bytes));
  EXPECT_TRUE(batch.records(0).has_presence());
}

}  // namespace
}  // namespace fieldgate::northbound
