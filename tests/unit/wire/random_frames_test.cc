// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/wire/wire_fixture.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace fieldgate::wire {
namespace {

// Valid frames of every kind, by protobuf's own classes.
class FrameMaker {
 public:
  explicit FrameMaker(unsigned seed) : random_(seed) {}

  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

  v1::DeviceFrame make() {
    v1::DeviceFrame frame;
    const unsigned kind = below(10);
    if (kind < 7) frame.set_seq(1 + (random_() >> below(63)) % 1'000'000'000'000);
    switch (kind) {
      case 0: fill(*frame.mutable_telemetry()); break;
      case 1: {
        v1::Event& event = *frame.mutable_event();
        event.set_name(name());
        if (below(2) == 0) event.set_unix_ms(below(2'000'000'000));
        event.set_severity(static_cast<v1::Severity>(below(6)));
        event.set_text(text(200));
        for (unsigned i = below(4); i > 0; --i) fill(*event.add_attributes());
        break;
      }
      case 2:
        frame.mutable_state()->set_reported_json(R"({"a":[1,2.5,{"b":"\u00e9"}]})");
        frame.mutable_state()->set_full(below(2) == 0);
        break;
      case 3: frame.mutable_command_ack()->set_id(name().substr(0, 64)); break;
      case 4: {
        v1::CommandResult& result = *frame.mutable_command_result();
        result.set_id(name().substr(0, 64));
        result.set_outcome(static_cast<v1::CommandResult::Outcome>(1 + below(4)));
        result.set_text(text(50));
        result.set_payload(text(500));
        break;
      }
      case 5:
        frame.mutable_desired_ack()->set_version(1 + random_());
        frame.mutable_desired_ack()->set_error(text(50));
        break;
      case 6:
        frame.mutable_opaque()->set_schema_id(name());
        frame.mutable_opaque()->set_data(text(900));
        break;
      case 7: frame.mutable_time_request()->set_token(random_()); break;
      case 8:
        frame.mutable_bye()->set_reason(static_cast<v1::Bye::Reason>(below(4)));
        frame.mutable_bye()->set_back_in_seconds(static_cast<std::uint32_t>(random_()));
        break;
      default: fill(*frame.mutable_hello()); break;
    }
    return frame;
  }

 private:
  std::string name() {
    std::string name = "n";
    for (unsigned i = below(30); i > 0; --i) name += "abcXYZ019._:-"[below(13)];
    return name;
  }
  std::string text(unsigned size_max) {
    static const std::string pieces[] = {"a", "Z", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\xa5"};
    std::string text;
    for (unsigned size = below(size_max); text.size() + 4 < size;) text += pieces[below(6)];
    return text;
  }
  void fill(v1::Metric& metric) {
    metric.set_name(name());
    if (below(2) == 0) metric.set_quality(static_cast<v1::Quality>(below(4)));
    switch (below(5)) {
      case 0: metric.set_double_value(static_cast<double>(random_()) / 7); break;
      case 1: metric.set_int_value(static_cast<std::int64_t>(random_() << below(64))); break;
      case 2: metric.set_bool_value(below(2) == 0); break;
      case 3: metric.set_string_value(text(100)); break;
      default: metric.set_bytes_value(std::string(below(100), '\xfe')); break;
    }
  }
  void fill(v1::Telemetry& telemetry) {
    for (unsigned i = 1 + below(4); i > 0; --i) {
      v1::Sample& sample = *telemetry.add_samples();
      if (below(3) == 0) sample.set_unix_ms(1'600'000'000'000 + below(1'000'000));
      if (below(3) == 0) {
        telemetry.set_uptime_ms(2'000'000);
        sample.set_at_uptime_ms(below(2'000'001));
      }
      for (unsigned k = 1 + below(8); k > 0; --k) fill(*sample.add_metrics());
    }
    telemetry.set_historical(below(8) == 0);
  }
  void fill(v1::Hello& hello) {
    hello.set_device_id(name());
    hello.set_stream_id(1 + (random_() >> 1));
    hello.set_last_seq(below(1'000));
    hello.set_oldest_seq(below(static_cast<unsigned>(hello.last_seq()) + 1));
    hello.set_ack_stage(static_cast<v1::AckStage>(below(4)));
    hello.set_heartbeat_seconds(below(1'000));
    if (below(2) == 0) hello.set_receive_max_bytes(256 + below(100'000));
    for (unsigned i = below(8); i > 0; --i) (*hello.mutable_labels())[name()] = text(100);
    hello.set_firmware_version(name());
    for (unsigned i = below(4); i > 0; --i) hello.add_capabilities(name());
  }

  std::mt19937_64 random_;
};

class RandomFrames : public testing::Test {
 protected:
  LimitSettings limits;
  ProtobufWire wire{limits};
  std::unique_ptr<WireDecoder> decoder = wire.make_decoder();
};

TEST_F(RandomFrames, ThatAreValidAreTakenWithTheMeaningProtobufGivesThem) {
  FrameMaker maker(1);
  for (int i = 0; i < 20'000; ++i) {
    const v1::DeviceFrame frame = maker.make();
    const std::string message = frame.SerializeAsString();
    ASSERT_EQ(verdict_problem(*decoder, bytes_of(message), k_now), "") << frame.DebugString();
    MetricCopies sink;
    const auto answer = decoder->decode(bytes_of(message), k_now, sink);
    ASSERT_TRUE(answer) << answer.error().detail << "\n" << frame.DebugString();
    const auto* reject = std::get_if<DecodeReject>(&*answer);
    ASSERT_EQ(reject, nullptr) << reject->text << "\n" << frame.DebugString();
  }
}

TEST_F(RandomFrames, ThatWereDamagedAreRefusedOrStillMeanTheSameToProtobuf) {
  FrameMaker maker(2);
  int taken = 0;
  int rejected = 0;
  int failed = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string message = maker.make().SerializeAsString();
    const std::string other = maker.make().SerializeAsString();
    for (unsigned k = 1 + maker.below(3); k > 0 && !message.empty(); --k) {
      const std::size_t at = maker.below(static_cast<unsigned>(message.size()));
      switch (maker.below(6)) {
        case 0: message[at] = static_cast<char>(maker.below(256)); break;
        case 1: message[at] = static_cast<char>(message[at] ^ (1 << maker.below(8))); break;
        case 2: message.erase(at, 1 + maker.below(4)); break;
        case 3: message.insert(at, 1, static_cast<char>(maker.below(256))); break;
        case 4: message.insert(at, other, 0, 1 + maker.below(20)); break;
        default: message.resize(at); break;
      }
    }
    ASSERT_EQ(verdict_problem(*decoder, bytes_of(message), k_now), "") << testing::PrintToString(message);
    MetricCopies sink;
    const auto answer = decoder->decode(bytes_of(message), k_now, sink);
    if (!answer) {
      ++failed;
    } else {
      ++(std::holds_alternative<UpFrame>(*answer) ? taken : rejected);
    }
  }
  EXPECT_GT(taken, 1'000);
  EXPECT_GT(rejected, 1'000);
  EXPECT_GT(failed, 1'000);
}

TEST_F(RandomFrames, ThatWereCutAreNeverTakenForWhole) {
  FrameMaker maker(3);
  for (int i = 0; i < 300; ++i) {
    const std::string message = maker.make().SerializeAsString();
    for (std::size_t size = 0; size < message.size(); ++size) {
      ASSERT_EQ(verdict_problem(*decoder, bytes_of(std::string_view(message).substr(0, size)), k_now), "");
    }
  }
}

}  // namespace
}  // namespace fieldgate::wire
