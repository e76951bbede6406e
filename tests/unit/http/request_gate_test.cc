// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/request_gate.h"

#include <gtest/gtest.h>

namespace fieldgate::http {
namespace {

std::string with(std::string_view fields, std::string_view line = "GET / HTTP/1.1") {
  return std::string(line) + "\r\n" + std::string(fields) + "\r\n";
}

bool passes(std::string_view head) { return parse_head(head).has_value(); }

TEST(RequestGate, ReadsAnOrdinaryRequest) {
  const auto head = parse_head("GET /api/v1/devices?online=true HTTP/1.1\r\nHost: gw:8080\r\nX-Pad:  a b\t\r\n\r\n");
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->method, "GET");
  EXPECT_EQ(head->target, "/api/v1/devices?online=true");
  EXPECT_TRUE(head->keep_alive);
  EXPECT_FALSE(head->has_body());
  ASSERT_NE(head->header("x-pad"), nullptr);
  EXPECT_EQ(*head->header("x-pad"), "a b");
}

TEST(RequestGate, WantsExactlyOneHost) {
  EXPECT_TRUE(passes(with("Host: a\r\n")));
  EXPECT_TRUE(passes(with("Host: [::1]:8080\r\n")));
  EXPECT_FALSE(passes(with("")));
  EXPECT_FALSE(passes(with("Host: a\r\nHost: a\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nhOST: b\r\n")));
  EXPECT_FALSE(passes(with("Host:\r\n")));
  EXPECT_FALSE(passes(with("Host: a, b\r\n")));
  EXPECT_FALSE(passes(with("Host: user@a\r\n")));
  EXPECT_TRUE(passes(with("", "GET / HTTP/1.0")));
  EXPECT_FALSE(passes(with("Host: a\r\nHost: a\r\n", "GET / HTTP/1.0")));
}

TEST(RequestGate, TakesTransferEncodingOnlyAsChunked) {
  EXPECT_TRUE(passes(with("Host: a\r\nTransfer-Encoding: chunked\r\n")));
  EXPECT_TRUE(passes(with("Host: a\r\nTransfer-Encoding: CHUNKED\r\n")));
  for (const char* value : {"gzip", "chunked, gzip", "gzip, chunked", "chunked, chunked", "chunked,", "identity", "",
                            "xchunked", "\"chunked\"", "chunked;q=1", "\vchunked"}) {
    EXPECT_FALSE(passes(with("Host: a\r\nTransfer-Encoding: " + std::string(value) + "\r\n"))) << value;
  }
  EXPECT_FALSE(passes(with("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nTransfer-Encoding: chunked\r\n", "GET / HTTP/1.0")));
  EXPECT_FALSE(passes(with("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n")));
}

TEST(RequestGate, TakesContentLengthOnlyOnceAndAsDigits) {
  const auto head = parse_head(with("Host: a\r\nContent-Length: 17\r\n"));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->content_length, 17U);
  for (const char* value : {"+3", "-3", "0x3", "3 3", "3,3", "3;", "", "18446744073709551616", "1e3"}) {
    EXPECT_FALSE(passes(with("Host: a\r\nContent-Length: " + std::string(value) + "\r\n"))) << value;
  }
  EXPECT_FALSE(passes(with("Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n")));
}

TEST(RequestGate, RefusesFoldedAndMalformedFields) {
  EXPECT_FALSE(passes(with("Host: a\r\nX: 1\r\n 2\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nX: 1\r\n\t2\r\n")));
  EXPECT_FALSE(passes(with(" Host: a\r\n")));
  EXPECT_FALSE(passes(with("Host : a\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nNo colon\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\n: nameless\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nX: \x01\r\n")));
  EXPECT_FALSE(passes(with(std::string("Host: a\r\nX: a\0b\r\n", 17))));
  EXPECT_FALSE(passes(with("Host: a\r\nX: a\rb\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nB\xc3\xa4r: 1\r\n")));
}

TEST(RequestGate, TakesOnlyATargetInOriginForm) {
  const auto line = [](std::string_view target) {
    return with("Host: a\r\n", "GET " + std::string(target) + " HTTP/1.1");
  };
  EXPECT_TRUE(passes(line("/a?b=c")));
  for (const char* target : {"http://a/", "*", "a", "", "/a b", "/a#b", "/\x7f", "/\xc3\xa4", "//", "/a\tb"}) {
    const bool legal = std::string_view(target) == "//";  // an empty segment is odd, not ambiguous
    EXPECT_EQ(passes(line(target)), legal) << target;
  }
}

TEST(RequestGate, TakesOnlyHttp10And11) {
  for (const char* version : {"HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "HTTP/1", "HTTP/01.1", ""}) {
    EXPECT_FALSE(passes(with("Host: a\r\n", "GET / " + std::string(version)))) << version;
  }
  EXPECT_FALSE(passes(with("Host: a\r\n", "GET /")));
  EXPECT_FALSE(passes(with("Host: a\r\n", "G\"T / HTTP/1.1")));
}

TEST(RequestGate, ClosesAfterHttp10AndWhereAsked) {
  EXPECT_FALSE(parse_head(with("", "GET / HTTP/1.0"))->keep_alive);
  EXPECT_FALSE(parse_head(with("Host: a\r\nConnection: Close\r\n"))->keep_alive);
  EXPECT_FALSE(parse_head(with("Host: a\r\nConnection: te, close\r\n"))->keep_alive);
  EXPECT_TRUE(parse_head(with("Host: a\r\nConnection: keep-alive\r\n"))->keep_alive);
}

TEST(RequestGate, TakesAuthorizationAndOriginOnce) {
  EXPECT_FALSE(passes(with("Host: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nOrigin: https://a\r\nOrigin: https://b\r\n")));
  EXPECT_FALSE(passes(with("Host: a\r\nExpect: 200-ok\r\n")));
}

TEST(RequestGate, RefusesMoreFieldsThanItTakes) {
  std::string fields = "Host: a\r\n";
  for (std::size_t i = 1; i < k_header_fields_max; ++i) fields += "X: 1\r\n";
  EXPECT_TRUE(passes(with(fields)));
  const auto over = parse_head(with(fields + "X: 1\r\n"));
  ASSERT_FALSE(over.has_value());
  EXPECT_EQ(over.error().code, Errc::too_large);
}

TEST(HeadEnd, IsFoundWhereverTheBytesAreCut) {
  const std::string text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next";
  const std::size_t end = text.find("GET /next");
  for (std::size_t first = 0; first <= text.size(); ++first) {
    const auto early = find_head_end(std::string_view(text).substr(0, first), 0);
    ASSERT_TRUE(early.has_value());
    EXPECT_EQ(*early, first >= end ? end : 0) << first;
    if (*early != 0) continue;
    const auto late = find_head_end(text, first);
    ASSERT_TRUE(late.has_value());
    EXPECT_EQ(*late, end) << first;
  }
}

TEST(HeadEnd, IsNotWaitedForWhereItCannotCome) {
  EXPECT_FALSE(find_head_end("GET / HTTP/1.1\n", 0).has_value());
  EXPECT_FALSE(find_head_end("GET / HTTP/1.1\r\nHost: a\n", 0).has_value());
  EXPECT_FALSE(find_head_end("\r\nGET / HTTP/1.1\r\n", 0).has_value());
  EXPECT_FALSE(find_head_end("\x16\x03\x01", 0).has_value());  // a TLS ClientHello
}

TEST(Target, IsTakenApartBeforeItIsDecoded) {
  const auto target = parse_target("/api/v1/devices/a%2Fb?label=site%3Dx&label=a%26b=c+d&empty&=v&&x=%2b");
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->segments, (std::vector<std::string>{"api", "v1", "devices", "a/b"}));
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"label", "site=x"}, {"label", "a&b=c d"}, {"empty", ""}, {"", "v"}, {"x", "+"}};
  EXPECT_EQ(target->parameters, expected);
}

TEST(Target, KeepsEmptySegmentsAndPlusInThePath) {
  EXPECT_EQ(parse_target("/")->segments, std::vector<std::string>{""});
  EXPECT_EQ(parse_target("/a/")->segments, (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(parse_target("//a")->segments, (std::vector<std::string>{"", "a"}));
  EXPECT_EQ(parse_target("/a+b")->segments, std::vector<std::string>{"a+b"});
}

TEST(Target, IsRefusedWithBadEscapes) {
  for (const char* text : {"/%", "/%4", "/%4g", "/%zz", "/%00", "/%0a", "/%7f", "/%ff", "/%c3", "/%c0%af", "/%ed%a0%80",
                           "/?a=%", "/?%00=a", "/?a=%ff", "a"}) {
    EXPECT_FALSE(parse_target(text).has_value()) << text;
  }
  EXPECT_TRUE(parse_target("/%C3%a4").has_value());
}

}  // namespace
}  // namespace fieldgate::http
