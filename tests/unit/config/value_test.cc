// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/value.h"

#include "gateway/config/text_checks.h"

#include <gtest/gtest.h>

namespace fieldgate::config {
namespace {

bool complains(const std::optional<Complaint>& complaint, std::string_view part) {
  return complaint && complaint->find(part) != std::string::npos;
}

TEST(TextChecks, KnowATopicFilter) {
  for (const char* text : {"a", "app/replies/#", "a/+/b", "+", "#", "a//b"}) {
    EXPECT_EQ(must_be_topic_filter(text), std::nullopt) << text;
  }
  for (const char* text : {"", "a/#/b", "a#", "a/b+", "$share/g/a", "$SYS/#"}) {
    EXPECT_NE(must_be_topic_filter(text), std::nullopt) << text;
  }
}

TEST(Duration, ReadsEachUnit) {
  milliseconds target{0};
  Duration value(target, milliseconds(0), std::chrono::hours(100));
  for (const auto& [text, ms] : std::vector<std::pair<const char*, int>>{
           {"0s", 0}, {"7ms", 7}, {"500ms", 500}, {"10s", 10'000}, {"5m", 300'000}, {"2h", 7'200'000}}) {
    EXPECT_EQ(value.set(text), std::nullopt) << text;
    EXPECT_EQ(target.count(), ms) << text;
  }
}

TEST(Duration, RefusesAllElseAndKeepsItsValue) {
  milliseconds target{42};
  Duration value(target, milliseconds(0), std::chrono::hours(100));
  for (const char* text : {"", "10", "s", "-1s", "1.5s", "1 s", "1S", "1sec", "1s ", " 1s", "1h30m", "1d", "0x1s",
                           "18446744073709551615h", "99999999999999999999999ms"}) {
    EXPECT_TRUE(complains(value.set(text), "0s to 100h")) << text;
  }
  EXPECT_EQ(target.count(), 42);
}

TEST(Duration, OfSecondsTakesWholeSecondsOnly) {
  seconds target{1};
  Duration value(target, seconds(0), seconds(60));
  EXPECT_EQ(value.set("2000ms"), std::nullopt);
  EXPECT_EQ(target, seconds(2));
  EXPECT_TRUE(complains(value.set("1500ms"), "must be a multiple of 1s, 0s to 1m, not \"1500ms\""));
}

TEST(Duration, ShowsTheLargestUnitThatFits) {
  EXPECT_EQ(show_duration(0), "0s");
  EXPECT_EQ(show_duration(1), "1ms");
  EXPECT_EQ(show_duration(1'500), "1500ms");
  EXPECT_EQ(show_duration(90'000), "90s");
  EXPECT_EQ(show_duration(3'600'000), "1h");
}

TEST(Size, ReadsPlainBytesAndUnits) {
  std::uint64_t target = 0;
  Size value(target, 0, 1ULL << 40);
  for (const auto& [text, bytes] : std::vector<std::pair<const char*, std::uint64_t>>{
           {"0", 0}, {"123", 123}, {"64KiB", 65'536}, {"256MiB", 268'435'456}, {"3GiB", 3'221'225'472}}) {
    EXPECT_EQ(value.set(text), std::nullopt) << text;
    EXPECT_EQ(target, bytes) << text;
  }
}

TEST(Size, RefusesDecimalUnitsAndOverflow) {
  std::uint64_t target = 5;
  Size value(target, 0, 1ULL << 40);
  for (const char* text : {"", "64KB", "64K", "64kib", "-1", "1.5MiB", "KiB", "18446744073709551615GiB"}) {
    EXPECT_TRUE(complains(value.set(text), "KiB, MiB or GiB, 0 to 1024GiB")) << text;
  }
  EXPECT_EQ(target, 5U);
}

TEST(Endpoint, ReadsBothFamilies) {
  Endpoint target;
  EndpointValue value(target);
  EXPECT_EQ(value.set("0.0.0.0:8443"), std::nullopt);
  EXPECT_EQ(target.address, "0.0.0.0");
  EXPECT_EQ(target.port, 8443);
  EXPECT_EQ(value.show(), "0.0.0.0:8443");
  EXPECT_EQ(value.set("[::1]:0"), std::nullopt);
  EXPECT_EQ(target.address, "::1");
  EXPECT_EQ(value.show(), "[::1]:0");
}

TEST(Endpoint, RefusesWhatIsNotNumeric) {
  Endpoint target{"127.0.0.1", 7};
  EndpointValue value(target);
  for (const char* text :
       {"", ":80", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "[127.0.0.1]:80",
        "[::1]", "[::1]80", "example.com:80", "256.0.0.1:80", "[]:80", "[fe80::1%eth0]:80"}) {
    EXPECT_TRUE(complains(value.set(text), "must be a numeric ADDRESS:PORT")) << text;
  }
  EXPECT_TRUE(complains(value.set("localhost:80"), "localhost is 127.0.0.1 or [::1]"));
  EXPECT_EQ(target.port, 7);
}

TEST(TextChecks, TopicPrefixHasNoWildcardsNorEmptyLevels) {
  for (const char* text : {"fieldgate/v1", "a", "a b/c$"}) EXPECT_EQ(must_be_topic_prefix(text), std::nullopt) << text;
  for (const char* text : {"", "a/+", "a#", "/a", "a/", "a//b", "$SYS/a"}) {
    EXPECT_NE(must_be_topic_prefix(text), std::nullopt) << text;
  }
}

TEST(TextChecks, OriginIsAsBrowsersSendIt) {
  for (const char* text : {"https://a.example", "http://localhost:3000", "http://[::1]:8", "chrome-extension://abc"}) {
    EXPECT_EQ(must_be_origin(text), std::nullopt) << text;
  }
  for (const char* text :
       {"", "*", "null", "a.example", "https://", "https://a.example/", "https://A.example", "://a", "https://a b"}) {
    EXPECT_NE(must_be_origin(text), std::nullopt) << text;
  }
}

TEST(TextChecks, HostIsABareNameOrAddress) {
  for (const char* text : {"broker", "a.example.com", "10.0.0.1", "::1"}) EXPECT_EQ(must_be_host(text), std::nullopt);
  for (const char* text : {"", "mqtt://a", "a b", "[::1]", "a/b"}) EXPECT_NE(must_be_host(text), std::nullopt) << text;
}

TEST(TextChecks, KnowsAWebhooksUrl) {
  for (const char* text : {"https://a", "http://a.example.com:8080/x/y?z=1", "https://10.0.0.1",
                           "https://[2001:db8::1]", "https://[::1]:1/?q", "https://a/%5Bx%5d/;v=1@(2)?a=b/c?d"}) {
    EXPECT_EQ(must_be_webhook_url(text), std::nullopt) << text;
  }
  for (const char* text : {"",
                           "a",
                           "ftp://a",
                           "https://",
                           "https:///x",
                           "https://:443",
                           "https://a:",
                           "https://a:0",
                           "https://a:65536",
                           "https://a:x",
                           "https://::1",
                           "https://[::1",
                           "https://[a]",
                           "https://[::1]x",
                           "https://a/#f",
                           "https://a b",
                           "https://a\"b",
                           "https://a/%zz",
                           "https://a/%4",
                           "https://a/?x=[1]",
                           "https://a/x|y"}) {
    EXPECT_NE(must_be_webhook_url(text), std::nullopt) << text;
  }
}

TEST(TextChecks, KnowsANetwork) {
  for (const char* text : {"10.0.0.0/8", "0.0.0.0/0", "192.168.1.1/32", "fd00::/8", "::/0", "::1/128"}) {
    EXPECT_EQ(must_be_network(text), std::nullopt) << text;
  }
  for (const char* text :
       {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "a/8", "10.0.0.0/-1"}) {
    EXPECT_NE(must_be_network(text), std::nullopt) << text;
  }
}

TEST(TextChecks, KnowsAHeadersName) {
  for (const char* text : {"Authorization", "X-Api-Key", "x"})
    EXPECT_EQ(must_be_header_name(text), std::nullopt) << text;
  for (const char* text : {"", "a b", "a:", "Host", "content-LENGTH", "Fieldgate-Signature", "Transfer-Encoding"}) {
    EXPECT_NE(must_be_header_name(text), std::nullopt) << text;
  }
}

TEST(TextChecks, KnowsAClientError) {
  for (const char* text : {"400", "499"}) EXPECT_EQ(must_be_client_error(text), std::nullopt) << text;
  for (const char* text : {"", "399", "500", "4xx"}) EXPECT_NE(must_be_client_error(text), std::nullopt) << text;
}

}  // namespace
}  // namespace fieldgate::config
