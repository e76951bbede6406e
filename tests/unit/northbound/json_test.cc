// SPDX-License-Identifier: Apache-2.0
#include "adapters/northbound/json_text.h"
#include "adapters/northbound/json_writer.h"
#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/northbound_records.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <cmath>
#include <limits>
#include <random>

namespace fieldgate::northbound {
namespace {

using test::OwnedRecord;

namespace json = boost::json;

json::value written(const v1::DeviceFrame& frame, RecordKind kind) {
  const OwnedRecord record{"pump-7", "", frame.SerializeAsString(), kind, ~std::uint64_t{0}, frame.seq()};
  JsonWriter writer;
  std::string out;
  EXPECT_TRUE(writer.write(record.view(), out));
  boost::system::error_code error;
  auto value = json::parse(out, error);
  EXPECT_FALSE(error) << out;
  return value;
}

TEST(JsonWriter, WritesTelemetryWithEveryTypeOfMetric) {
  v1::DeviceFrame frame;
  frame.set_seq(12);
  auto* telemetry = frame.mutable_telemetry();
  telemetry->set_historical(true);
  auto* sample = telemetry->add_samples();
  sample->set_unix_ms(1'700'000'000'123);
  const auto add = [&](const char* name) {
    auto* metric = sample->add_metrics();
    metric->set_name(name);
    return metric;
  };
  add("d")->set_double_value(0.1);
  add("nan")->set_double_value(std::nan(""));
  add("inf")->set_double_value(-std::numeric_limits<double>::infinity());
  add("i")->set_int_value(-(std::int64_t{1} << 53));
  add("big")->set_int_value(std::numeric_limits<std::int64_t>::min());
  add("b")->set_bool_value(false);
  add("s")->set_string_value("a\"b\\c\n\x01");
  add("y")->set_bytes_value(std::string("\0\xff\x10z", 4));
  sample->mutable_metrics(0)->set_quality(v1::QUALITY_BAD);

  const auto value = written(frame, RecordKind::telemetry);
  EXPECT_EQ(value.at("device"), "pump-7");
  EXPECT_EQ(value.at("stream"), "18446744073709551615");
  EXPECT_EQ(value.at("seq"), 12);
  EXPECT_EQ(value.at("received_unix_ms"), 1'700'000'000'000);
  EXPECT_EQ(value.at("telemetry").at("historical"), true);
  const auto& written_sample = value.at("telemetry").at("samples").at(0);
  EXPECT_EQ(written_sample.at("unix_ms"), 1'700'000'000'123);
  const auto& metrics = written_sample.at("metrics").as_array();
  EXPECT_EQ(metrics.at(0), json::parse(R"({"name":"d","type":"double","value":0.1,"quality":"bad"})"));
  EXPECT_EQ(metrics.at(1).at("value"), "NaN");
  EXPECT_EQ(metrics.at(2).at("value"), "-Infinity");
  EXPECT_EQ(metrics.at(3).at("value"), -(std::int64_t{1} << 53));
  EXPECT_EQ(metrics.at(4), json::parse(R"({"name":"big","type":"int","value":"-9223372036854775808"})"));
  EXPECT_EQ(metrics.at(5), json::parse(R"({"name":"b","type":"bool","value":false})"));
  EXPECT_EQ(metrics.at(6).at("value"), "a\"b\\c\n\x01");
  EXPECT_EQ(metrics.at(7), json::parse(R"({"name":"y","type":"bytes","value":"AP8Qeg=="})"));
}

TEST(JsonWriter, WritesEventsRepliesAndOpaqueData) {
  v1::DeviceFrame frame;
  frame.set_seq(1);
  frame.mutable_event()->set_name("overheat");
  frame.mutable_event()->set_severity(v1::SEVERITY_CRITICAL);
  EXPECT_EQ(written(frame, RecordKind::event).at("event"), json::parse(R"({"name":"overheat","severity":"critical"})"));
  frame.mutable_command_result()->set_id("c1");
  frame.mutable_command_result()->set_outcome(v1::CommandResult::OUTCOME_FAILED);
  frame.mutable_command_result()->set_payload("ok");
  EXPECT_EQ(written(frame, RecordKind::command_reply).at("command_result"),
            json::parse(R"({"id":"c1","outcome":"failed","payload":"b2s="})"));
  frame.mutable_opaque()->set_schema_id("acme.v1");
  EXPECT_EQ(written(frame, RecordKind::opaque).at("opaque"), json::parse(R"({"schema_id":"acme.v1","data":""})"));
  frame.mutable_desired_ack()->set_version(5);
  EXPECT_EQ(written(frame, RecordKind::command_reply).at("desired_ack"), json::parse(R"({"version":5})"));
}

TEST(JsonWriter, EmbedsAReportedDocumentOnlyIfItIsOne) {
  v1::DeviceFrame frame;
  frame.set_seq(1);
  frame.mutable_state()->set_reported_json(R"( {"fan":{"rpm":900}} )");
  frame.mutable_state()->set_full(true);
  EXPECT_EQ(written(frame, RecordKind::state).at("state"),
            json::parse(R"({"reported":{"fan":{"rpm":900}},"full":true})"));
  const std::string deep = "{\"a\":" + std::string(100, '[');
  for (const std::string& text : {std::string("[1]"), std::string("{\"a\":1}},\"x\":{"), std::string(), deep}) {
    frame.mutable_state()->set_reported_json(text);
    EXPECT_EQ(written(frame, RecordKind::state).at("state").at("reported_text").as_string(), text);
  }
}

TEST(JsonWriter, WritesPresenceFlat) {
  v1::PresenceEvent event;
  event.set_epoch((std::uint64_t{1} << 53) - 1);
  event.set_node("gw-1");
  event.set_boot_id("b1");
  event.set_unix_ms(17);
  event.set_reason("bye");
  const OwnedRecord record{"pump-7", "offline", event.SerializeAsString(), RecordKind::presence, 0, 0};
  JsonWriter writer;
  std::string out;
  ASSERT_TRUE(writer.write(record.view(), out));
  EXPECT_EQ(out,
            R"({"online":false,"epoch":"9007199254740991","node":"gw-1","boot_id":"b1","unix_ms":17,"reason":"bye"})");
}

TEST(JsonWriter, RefusesWhatIsNotTheKindItSays) {
  JsonWriter writer;
  std::string out;
  EXPECT_FALSE(writer.write(OwnedRecord{"a", "", "\xff\xff", RecordKind::telemetry}.view(), out));
  v1::DeviceFrame bye;
  bye.mutable_bye();
  EXPECT_FALSE(writer.write(OwnedRecord{"a", "", bye.SerializeAsString(), RecordKind::telemetry}.view(), out));
}

TEST(JsonText, EscapesEveryStringSoThatItReadsBack) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    const std::size_t size = random() % 12;
    while (text.size() < size) text.push_back(static_cast<char>(random() % 128));
    std::string out;
    append_json_string(text, out);
    boost::system::error_code error;
    const auto value = json::parse(out, error);
    ASSERT_FALSE(error) << out;
    ASSERT_EQ(value.as_string(), text);
  }
}

TEST(JsonText, WritesDoublesThatReadBackTheSame) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20'000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    std::string out;
    append_json_double(value, out);
    ASSERT_EQ(std::strtod(out.c_str(), nullptr), value) << out;
    boost::system::error_code error;
    (void)json::parse(out, error);
    ASSERT_FALSE(error) << out;
  }
}

TEST(JsonText, PadsBase64) {
  const auto base64 = [](std::string_view bytes) {
    std::string out;
    append_json_base64(bytes, out);
    return out;
  };
  // RFC 4648 section 10.
  EXPECT_EQ(base64(""), "\"\"");
  EXPECT_EQ(base64("f"), "\"Zg==\"");
  EXPECT_EQ(base64("fo"), "\"Zm8=\"");
  EXPECT_EQ(base64("foo"), "\"Zm9v\"");
  EXPECT_EQ(base64("foobar"), "\"Zm9vYmFy\"");
}

}  // namespace
}  // namespace fieldgate::northbound
