// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/metrics.h"

#include "tests/unit/wire/wire_fixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace fieldgate::wire {
namespace {

std::string with_metric(const std::string& metric) {
  return "seq: 1 telemetry { samples { metrics { " + metric + " } } }";
}
const std::string k_at = "telemetry.samples[0].metrics[0]: ";

using Telemetry = WireTest;

TEST_F(Telemetry, GivesItsMetricsInOrderWithTheirTypes) {
  ASSERT_TRUE(taken(R"(seq: 1 telemetry {
      samples { unix_ms: 1600000000000
                metrics { name: 'a' double_value: -0.5 }
                metrics { name: 'b' int_value: -3 quality: QUALITY_UNCERTAIN } }
      samples { metrics { name: 'c' bool_value: true quality: QUALITY_BAD }
                metrics { name: 'd' string_value: 'x' quality: QUALITY_GOOD }
                metrics { name: 'e' bytes_value: '\000\377' } } })"));
  EXPECT_EQ(frame->samples, 2U);
  EXPECT_EQ(frame->metrics, 5U);
  ASSERT_EQ(sink.copies.size(), 5U);
  EXPECT_EQ(std::get<double>(sink.copies[0].value), -0.5);
  EXPECT_EQ(sink.copies[0].unix_ms, 1'600'000'000'000);
  EXPECT_EQ(std::get<std::int64_t>(sink.copies[1].value), -3);
  EXPECT_EQ(sink.copies[1].quality, MetricQuality::uncertain);
  EXPECT_EQ(std::get<bool>(sink.copies[2].value), true);
  EXPECT_EQ(sink.copies[2].unix_ms, k_now);
  EXPECT_EQ(sink.copies[2].quality, MetricQuality::bad);
  EXPECT_EQ(std::get<std::string>(sink.copies[3].value), "x");
  EXPECT_EQ(std::get<std::vector<std::byte>>(sink.copies[4].value).size(), 2U);
}

TEST_F(Telemetry, KeepsExtremeNumbersExactly) {
  for (const char* value : {"double_value: nan", "double_value: -inf", "double_value: 5e-324",
                            "int_value: 9223372036854775807", "int_value: -9223372036854775808", "int_value: 0"}) {
    EXPECT_TRUE(taken(with_metric(std::string("name: 'm' ") + value))) << value;  // the oracle compares the bits
  }
}

TEST_F(Telemetry, LeavesTheLastValuesAloneWhenItIsHistorical) {
  ASSERT_TRUE(taken("seq: 1 telemetry { historical: true samples { metrics { name: 't' bool_value: true } } }"));
  EXPECT_TRUE(frame->historical);
  EXPECT_EQ(frame->metrics, 1U);
  EXPECT_TRUE(sink.copies.empty());
}

TEST_F(Telemetry, NeedsASampleAndEachSampleAMetric) {
  EXPECT_EQ(reject_of("seq: 1 telemetry {}"), "telemetry: no samples");
  EXPECT_EQ(reject_of("seq: 1 telemetry { samples { metrics { name: 't' bool_value: true } } samples {} }"),
            "telemetry.samples[1]: no metrics");
}

TEST_F(Telemetry, GivesNoMetricToTheSinkWhenALaterOneFails) {
  EXPECT_EQ(
      reject_of("seq: 1 telemetry { samples { metrics { name: 'ok' bool_value: true } metrics { name: 'bad' } } }"),
      "telemetry.samples[0].metrics[1]: no value");
  EXPECT_TRUE(sink.copies.empty());
}

TEST_F(Telemetry, NeedsAReadableNameOnEachMetric) {
  EXPECT_EQ(reject_of(with_metric("bool_value: true")), k_at + "name is missing");
  EXPECT_TRUE(taken(with_metric("bool_value: true name: '" + std::string(128, 'n') + "'")));
  EXPECT_EQ(reject_of(with_metric("bool_value: true name: '" + std::string(129, 'n') + "'"), RejectCode::too_large),
            k_at + "name is over 128 bytes");
  EXPECT_TRUE(taken(with_metric("bool_value: true name: 'Temp\xc3\xa9rature \xe2\x82\xac/\xf0\x9f\x94\xa5 +#'")));
  for (const char* name : {"a\\nb", "a\\177", "\\302\\205", "\\000"}) {
    EXPECT_EQ(reject_of(with_metric("bool_value: true name: '" + std::string(name) + "'")),
              k_at + "name is not UTF-8 without control characters")
        << name;
  }
  const std::string metric = field(1, "bad\xff") + std::string("\x20\x01", 2);
  decode(std::string("\x08\x01", 2) + field(3, field(1, field(3, metric))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, k_at + "name is not UTF-8 without control characters");
}

TEST_F(Telemetry, NeedsExactlyOneValueOnEachMetric) {
  EXPECT_EQ(reject_of(with_metric("name: 't'")), k_at + "no value");
  const std::string two = field(1, "t") + std::string("\x18\x02\x20\x01", 4);
  decode(std::string("\x08\x01", 2) + field(3, field(1, field(3, two))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, k_at + "more than one value");
  const std::string twice = field(1, "t") + std::string("\x20\x01\x20\x01", 4);
  decode(std::string("\x08\x01", 2) + field(3, field(1, field(3, twice))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, k_at + "field 4 is set twice");
}

TEST_F(Telemetry, LimitsTheSizeOfAValue) {
  const std::string most(1'024, 'x');
  EXPECT_TRUE(taken(with_metric("name: 't' string_value: '" + most + "'")));
  EXPECT_TRUE(taken(with_metric("name: 't' bytes_value: '" + most + "'")));
  for (const char* kind : {"string_value", "bytes_value"}) {
    EXPECT_EQ(reject_of(with_metric("name: 't' " + std::string(kind) + ": '" + most + "x'"), RejectCode::too_large),
              k_at + "value is over 1024 bytes");
  }
}

TEST_F(Telemetry, NeedsUtf8InAStringValue) {
  const std::string metric = field(1, "t") + field(5, "\xc0\x80");
  decode(std::string("\x08\x01", 2) + field(3, field(1, field(3, metric))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, k_at + "string_value is not valid UTF-8");
  EXPECT_TRUE(taken(with_metric("name: 't' string_value: 'line\\nline\\000'")));
}

TEST_F(Telemetry, RefusesAQualityItDoesNotKnow) {
  EXPECT_EQ(reject_of(with_metric("name: 't' bool_value: true quality: 4")), k_at + "unknown quality");
}

TEST_F(Telemetry, TakesWallClocksOfThisAge) {
  const auto with_time = [](const std::string& time) {
    return "seq: 1 telemetry { samples { unix_ms: " + time + " metrics { name: 't' bool_value: true } } }";
  };
  EXPECT_TRUE(taken(with_time("0")));
  EXPECT_TRUE(taken(with_time("7258118399999")));
  for (const char* time : {"7258118400000", "-1", "9223372036854775807", "-9223372036854775808"}) {
    EXPECT_EQ(reject_of(with_time(time)), "telemetry.samples[0].unix_ms is not between 1970 and 2200") << time;
  }
}

TEST_F(Telemetry, ResolvesUptimeAgainstTheMomentOfSending) {
  const auto with_times = [](const std::string& at, const std::string& uptime) {
    return "seq: 1 telemetry { " + uptime + " samples { at_uptime_ms: " + at +
           " metrics { name: 't' bool_value: true } } }";
  };
  ASSERT_TRUE(taken(with_times("4000", "uptime_ms: 10000")));
  EXPECT_EQ(sink.copies[0].unix_ms, k_now - 6'000);
  ASSERT_TRUE(taken(with_times("0", "")));  // sent in the moment of booting
  EXPECT_EQ(sink.copies[0].unix_ms, k_now);
  EXPECT_EQ(reject_of(with_times("4000", "")), "telemetry.samples[0].at_uptime_ms needs telemetry.uptime_ms");
  EXPECT_EQ(reject_of(with_times("10001", "uptime_ms: 10000")),
            "telemetry.samples[0].at_uptime_ms is after telemetry.uptime_ms");
  EXPECT_EQ(reject_of(with_times("0", "uptime_ms: 18446744073709551615")),
            "telemetry.samples[0].at_uptime_ms is before 1970");
}

TEST_F(Telemetry, HasOneTimeForEachSample) {
  const std::string metric = field(3, field(1, "t") + std::string("\x20\x01", 2));
  decode(std::string("\x08\x01", 2) + field(3, field(1, std::string("\x08\x05\x10\x05", 4) + metric)));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "telemetry.samples[0]: both unix_ms and at_uptime_ms");
}

TEST_F(Telemetry, NeedsItsFieldsInTheirType) {
  decode(std::string("\x08\x01", 2) + field(3, field(2, "x")));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "telemetry: field 2 has the wrong type");
  decode(std::string("\x08\x01", 2) + field(3, field(1, field(1, "x"))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, "telemetry.samples[0]: field 1 has the wrong type");
  decode(std::string("\x08\x01", 2) + field(3, field(1, field(3, std::string("\x08\x01", 2)))));
  ASSERT_TRUE(reject);
  EXPECT_EQ(reject->text, k_at + "field 1 has the wrong type");
}

}  // namespace
}  // namespace fieldgate::wire
