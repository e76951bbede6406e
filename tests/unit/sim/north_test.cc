// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/north.h"

#include "tests/sim/mqtt_subscriber.h"

#include <gtest/gtest.h>

namespace fieldgate::sim {
namespace {

std::string frame_bytes(std::string_view device, std::uint64_t stream, std::uint64_t seq) {
  FrameFactory factory{FrameShape{}};
  Rng rng(1);
  std::string bytes;
  factory.telemetry(check_seed(device, stream), seq, 1'763'792'000'000'000, rng, bytes);
  return bytes;
}

TEST(NorthReader, CountsEveryRecordOfABatchAndSetsPresenceApart) {
  v1::RecordBatch batch;
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    v1::Record& record = *batch.add_records();
    record.set_device_id("d");
    record.set_stream_id(5);
    record.set_seq(seq);
    ASSERT_TRUE(record.mutable_frame()->ParseFromString(frame_bytes("d", 5, seq)));
  }
  batch.add_records()->mutable_presence()->set_online(true);
  NorthReader reader("p/x");
  const std::string bytes = batch.SerializeAsString();
  reader.on_message({"p/x/batches/3", bytes, "", "", "", 1'763'792'000'000'500});
  EXPECT_EQ(reader.tally().records(), 3u);
  EXPECT_EQ(reader.presence_records(), 1u);
  EXPECT_EQ(reader.unreadable(), 0u);
  EXPECT_EQ(reader.tally().mismatched(), 0u);
  EXPECT_EQ(reader.tally().latency_us().max_us(), 500);
}

TEST(NorthReader, TakesPerDeviceMessagesByTheirProperties) {
  NorthReader reader("p");
  const std::string bytes = frame_bytes("d", 5, 1);
  reader.on_message({"p/devices/d/telemetry", bytes, "d", "5", "1", 0});
  reader.on_message({"p/devices/d/telemetry", R"({"seq":"2"})", "d", "5", "2", 0});
  EXPECT_EQ(reader.tally().records(), 2u);
  EXPECT_EQ(reader.tally().latency_us().count(), 1u);  // JSON is not looked into
  EXPECT_EQ(reader.unreadable(), 0u);
}

TEST(NorthReader, CountsWhatIsUnlabelledOrMislabelledAsUnreadable) {
  NorthReader reader("p");
  const std::string bytes = frame_bytes("d", 5, 1);
  reader.on_message({"p/devices/d/telemetry", bytes, "", "5", "1", 0});
  reader.on_message({"p/devices/d/telemetry", bytes, "d", "", "1", 0});
  reader.on_message({"p/devices/d/telemetry", bytes, "d", "5x", "1", 0});
  reader.on_message({"p/devices/d/telemetry", bytes, "d", "5", "0", 0});
  reader.on_message({"p/devices/d/telemetry", bytes, "d", "5", "2", 0});  // the frame says 1
  reader.on_message({"p/batches/0", "\xff\xff\xff", "", "", "", 0});
  EXPECT_EQ(reader.unreadable(), 6u);
  EXPECT_EQ(reader.tally().records(), 0u);
}

TEST(ParseBroker, TakesUrlsAndBareHosts) {
  bool tls = true;
  auto broker = parse_broker("mqtt://127.0.0.1:1884", tls);
  ASSERT_TRUE(broker);
  EXPECT_EQ(broker->host, "127.0.0.1");
  EXPECT_EQ(broker->port, 1884);
  EXPECT_FALSE(tls);
  broker = parse_broker("mqtts://broker.example", tls);
  ASSERT_TRUE(broker);
  EXPECT_EQ(broker->port, 8883);
  EXPECT_TRUE(tls);
  broker = parse_broker("[::1]:99", tls);
  ASSERT_TRUE(broker);
  EXPECT_EQ(broker->host, "::1");
  EXPECT_EQ(broker->port, 99);
  for (const char* bad : {"", "mqtt://", "mqtt://h:0", "mqtt://h:x", "http://h", "h:70000"}) {
    EXPECT_FALSE(parse_broker(bad, tls)) << bad;
  }
}

}  // namespace
}  // namespace fieldgate::sim
