// SPDX-License-Identifier: Apache-2.0
#include "adapters/log/line.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <limits>

namespace fieldgate::log_line {
namespace {

constexpr std::string_view k_head = "ts=1970-01-01T00:00:00.000Z level=info event=tested v=";

std::string logfmt(const LogField::Value& value) {
  const std::string line = std::visit(
      [](const auto& v) { return format(LogFormat::logfmt, 0, LogLevel::info, "tested", {LogField("v", v)}); }, value);
  EXPECT_EQ(line.substr(0, k_head.size()), k_head);
  return line.substr(k_head.size());
}

TEST(Line, HasItsPartsInOrder) {
  EXPECT_EQ(format(LogFormat::logfmt, 1'700'000'000'123, LogLevel::warn, "session_ended",
                   {{"device", "d-1"}, {"frames", 12}, {"clean", true}, {"share", 0.5}, {"delta", -3}}),
            "ts=2023-11-14T22:13:20.123Z level=warn event=session_ended device=d-1 frames=12 clean=true share=0.5 "
            "delta=-3");
  EXPECT_EQ(
      format(LogFormat::json, 1'700'000'000'123, LogLevel::error, "session_ended", {{"device", "d-1"}, {"n", 12}}),
      "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"level\":\"error\",\"event\":\"session_ended\",\"device\":\"d-1\","
      "\"n\":12}");
}

TEST(Line, WritesTimesInUtc) {
  EXPECT_EQ(timestamp(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(timestamp(951'868'799'999), "2000-02-29T23:59:59.999Z");
  EXPECT_EQ(timestamp(-1), "1969-12-31T23:59:59.999Z");
}

TEST(Line, QuotesWhatIsNotOneWord) {
  EXPECT_EQ(logfmt("plain/1.2:3"), "plain/1.2:3");
  EXPECT_EQ(logfmt(""), "\"\"");
  EXPECT_EQ(logfmt("two words"), "\"two words\"");
  EXPECT_EQ(logfmt("a=b"), "\"a=b\"");
  EXPECT_EQ(logfmt("say \"hi\" \\"), R"("say \"hi\" \\")");
}

TEST(Line, KeepsOneLineWhateverAPeerSends) {
  EXPECT_EQ(logfmt("a\nevent=forged\r\t"), R"("a\nevent=forged\r\t")");
  EXPECT_EQ(logfmt(std::string_view("\0\x1b[31m\x7f", 7)), R"("\u0000\u001b[31m\u007f")");
  EXPECT_EQ(logfmt("\u0085 \u2028 \u2029"), R"("\u0085 \u2028 \u2029")");
}

TEST(Line, EscapesWhatTurnsTheReadingDirection) {
  EXPECT_EQ(logfmt("a\u202eb\u2066c\u200fd"), R"("a\u202eb\u2066c\u200fd")");
}

TEST(Line, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(logfmt("Zürich 東京 😀"), "\"Zürich 東京 😀\"");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(logfmt("\xff"), "\"" + bad + "\"");
  EXPECT_EQ(logfmt("\xc3("), "\"" + bad + "(\"");                              // cut short
  EXPECT_EQ(logfmt("\xc0\xaf"), "\"" + bad + bad + "\"");                      // overlong
  EXPECT_EQ(logfmt("\xe0\x80\xaf"), "\"" + bad + bad + bad + "\"");            // overlong
  EXPECT_EQ(logfmt("\xed\xa0\x80"), "\"" + bad + bad + bad + "\"");            // surrogate
  EXPECT_EQ(logfmt("\xf4\x90\x80\x80"), "\"" + bad + bad + bad + bad + "\"");  // beyond U+10FFFF
  EXPECT_EQ(logfmt("\xf0\x9f\x98"), "\"" + bad + bad + bad + "\"");            // ends early
}

TEST(Line, CutsLongValuesBetweenCharacters) {
  EXPECT_EQ(logfmt(std::string(256, 'a')), std::string(256, 'a'));
  EXPECT_EQ(logfmt(std::string(257, 'a')), "\"" + std::string(256, 'a') + "...\"");
  std::string wide = std::string(255, 'a') + "ü";
  EXPECT_EQ(logfmt(wide), "\"" + std::string(255, 'a') + "...\"");
}

TEST(Line, WritesNumbersAsTheyAre) {
  EXPECT_EQ(logfmt(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(logfmt(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(logfmt(std::numeric_limits<double>::quiet_NaN()), "\"NaN\"");
  EXPECT_EQ(logfmt(-std::numeric_limits<double>::infinity()), "\"-Inf\"");
  EXPECT_EQ(logfmt(1e300), "1e+300");
}

TEST(Line, IsValidJsonForEveryByte) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  for (std::size_t from = 0; from < all.size(); ++from) {
    const std::string line =
        format(LogFormat::json, 0, LogLevel::debug, "tested", {{"v", std::string_view(all).substr(from)}, {"n", 1}});
    const boost::json::value parsed = boost::json::parse(line);
    EXPECT_EQ(parsed.at("event").as_string(), "tested");
    EXPECT_EQ(parsed.at("n").as_int64(), 1);
    EXPECT_EQ(line.find('\n'), std::string::npos);
  }
}

TEST(Line, KeepsKeysToLetters) {
  EXPECT_EQ(format(LogFormat::logfmt, 0, LogLevel::info, "e", {{"a b=\"", 1}}),
            "ts=1970-01-01T00:00:00.000Z level=info event=e a_b__=1");
}

}  // namespace
}  // namespace fieldgate::log_line
