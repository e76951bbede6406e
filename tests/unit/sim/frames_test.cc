// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/frames.h"

#include <gtest/gtest.h>

namespace fieldgate::sim {
namespace {

constexpr std::int64_t k_wall_us = 1'763'792'000'123'456;

class Frames : public testing::Test {
 protected:
  v1::DeviceFrame telemetry(std::uint64_t seq, std::int64_t wall_us = k_wall_us) {
    std::string bytes;
    factory_.telemetry(check_seed("sim-000001", 99), seq, wall_us, rng_, bytes);
    v1::DeviceFrame frame;
    EXPECT_TRUE(frame.ParseFromString(bytes));
    // What is patched together is what protobuf itself would write.
    EXPECT_EQ(frame.SerializeAsString(), bytes);
    return frame;
  }
  FrameFactory factory_{FrameShape{6, 1'500}};
  Rng rng_{1};
};

TEST_F(Frames, TelemetryHasTheShapeAskedFor) {
  const v1::DeviceFrame frame = telemetry(300);
  EXPECT_EQ(frame.seq(), 300u);
  ASSERT_EQ(frame.telemetry().samples_size(), 1);
  const v1::Sample& sample = frame.telemetry().samples(0);
  EXPECT_EQ(sample.unix_ms(), k_wall_us / 1000);
  ASSERT_EQ(sample.metrics_size(), 6 + 2);
  EXPECT_EQ(sample.metrics(2).name(), "temperature");
  EXPECT_EQ(sample.metrics(6).string_value().size(), 1'024u);
  EXPECT_EQ(sample.metrics(7).string_value().size(), 1'500u - 1'024u);
  std::set<std::string> names;
  for (const v1::Metric& metric : sample.metrics()) names.insert(metric.name());
  EXPECT_EQ(names.size(), 8u);
}

TEST_F(Frames, EveryKindIsReadBackIntact) {
  const std::uint64_t seed = check_seed("sim-000001", 99);
  for (const std::uint64_t seq : {std::uint64_t{1}, std::uint64_t{128}, std::uint64_t{1} << 60}) {
    std::vector<v1::DeviceFrame> frames = {telemetry(seq)};
    std::string bytes;
    factory_.event(seed, seq, k_wall_us, bytes);
    frames.emplace_back().ParseFromString(bytes);
    factory_.state(seed, seq, k_wall_us, bytes);
    frames.emplace_back().ParseFromString(bytes);
    factory_.opaque(seed, seq, k_wall_us, bytes);
    frames.emplace_back().ParseFromString(bytes);
    for (const v1::DeviceFrame& frame : frames) {
      const auto found = inspect(frame, "sim-000001", 99);
      ASSERT_TRUE(found) << frame.kind_case();
      EXPECT_TRUE(found->intact) << frame.kind_case();
      EXPECT_EQ(found->sent_us, k_wall_us);
      EXPECT_FALSE(inspect(frame, "sim-000002", 99)->intact);  // filed under another device
      EXPECT_FALSE(inspect(frame, "sim-000001", 98)->intact);  // or stream
      v1::DeviceFrame moved = frame;
      moved.set_seq(seq + 1);
      EXPECT_FALSE(inspect(moved, "sim-000001", 99)->intact);
    }
  }
}

TEST_F(Frames, AChangedValueIsNoticed) {
  v1::DeviceFrame frame = telemetry(1);
  for (int i = 0; i < frame.telemetry().samples(0).metrics_size(); ++i) {
    v1::DeviceFrame changed = frame;
    v1::Metric& metric = *changed.mutable_telemetry()->mutable_samples(0)->mutable_metrics(i);
    if (metric.has_string_value())
      metric.mutable_string_value()->back() = '!';
    else
      metric.set_double_value(metric.double_value() + 1);
    EXPECT_FALSE(inspect(changed, "sim-000001", 99)->intact) << metric.name();
  }
}

TEST_F(Frames, ForeignFramesAreLeftAlone) {
  v1::DeviceFrame frame;
  EXPECT_FALSE(inspect(frame, "a", 1));
  frame.mutable_telemetry()->add_samples()->add_metrics()->set_name("x");
  EXPECT_FALSE(inspect(frame, "a", 1));
  frame.mutable_event()->set_name("e");
  EXPECT_FALSE(inspect(frame, "a", 1));
  frame.mutable_state()->set_reported_json("[1]");
  EXPECT_FALSE(inspect(frame, "a", 1));
  frame.mutable_opaque()->set_schema_id("sim.blob");
  EXPECT_FALSE(inspect(frame, "a", 1));
}

}  // namespace
}  // namespace fieldgate::sim
