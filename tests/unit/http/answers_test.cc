// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/finish.h"
#include "adapters/http/json_writer.h"
#include "adapters/http/text.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <boost/json.hpp>

#include <algorithm>
#include <limits>

namespace fieldgate::http {
namespace {

std::string gunzip(std::string_view packed) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

std::string header(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "(none)";
}

Request request(std::vector<std::pair<std::string, std::string>> headers, std::string method = "GET") {
  Request r;
  r.head.method = std::move(method);
  r.head.headers = std::move(headers);
  r.id = "cafe0000-1";
  return r;
}

Response large(bool tagged = false) {
  Response r;
  r.body = std::string(5'000, 'x');
  r.tagged = tagged;
  return r;
}

TEST(Gzip, IsAcceptedByNameAndWildcardButNotWithWeightZero) {
  for (const char* yes : {"gzip", "x-gzip", "GZIP", "deflate, gzip", "gzip;q=1", "gzip;q=0.001", "*", "br, *;q=0.1",
                          "gzip ; q=0.5", "identity;q=0, gzip"}) {
    EXPECT_TRUE(accepts_gzip(yes)) << yes;
  }
  for (const char* no : {"", "identity", "br", "gzip;q=0", "gzip;q=0.000", "gzip;Q=0", "gzip;q=0, *", "*;q=0",
                         "gzip;q=", "gzip;q=2", "gzip;q=abc", "gzipx", "ungzip"}) {
    EXPECT_FALSE(accepts_gzip(no)) << no;
  }
}

TEST(Gzip, IsAppliedToLargeAnswersOnly) {
  Response big = large();
  finish(request({{"accept-encoding", "gzip"}}), {}, big);
  EXPECT_EQ(header(big, "Content-Encoding"), "gzip");
  EXPECT_LT(big.body.size(), 200U);
  EXPECT_EQ(gunzip(big.body), std::string(5'000, 'x'));

  Response small;
  small.body = std::string(k_gzip_bytes_min, 'x');
  finish(request({{"accept-encoding", "gzip"}}), {}, small);
  EXPECT_EQ(header(small, "Content-Encoding"), "(none)");

  Response unasked = large();
  finish(request({}), {}, unasked);
  EXPECT_EQ(unasked.body.size(), 5'000U);
  EXPECT_EQ(header(unasked, "Vary"), "Accept-Encoding");
}

TEST(Conditional, AnswersNotModifiedToWhoHasItAlready) {
  Response first = large(true);
  finish(request({}), {}, first);
  const std::string tag = header(first, "ETag");
  EXPECT_EQ(tag.substr(0, 3), "W/\"");
  EXPECT_EQ(header(first, "Cache-Control"), "no-cache");

  for (const std::string& known : {tag, "\"other\", " + tag, tag.substr(2), std::string("*")}) {
    Response again = large(true);
    finish(request({{"if-none-match", known}}), {}, again);
    EXPECT_EQ(again.status, 304U) << known;
    EXPECT_TRUE(again.body.empty());
    EXPECT_EQ(header(again, "ETag"), tag);
  }
  Response other = large(true);
  finish(request({{"if-none-match", "\"other\""}}), {}, other);
  EXPECT_EQ(other.status, 200U);
}

TEST(Conditional, TheTagChangesWithTheAnswer) { EXPECT_NE(entity_tag("a"), entity_tag("b")); }

TEST(Conditional, AnErrorHasNoTag) {
  Response wrong = large(true);
  wrong.status = 404;
  finish(request({{"if-none-match", "*"}}), {}, wrong);
  EXPECT_EQ(wrong.status, 404U);
  EXPECT_EQ(header(wrong, "ETag"), "(none)");
}

TEST(Cors, NamesOnlyOriginsThatAreListed) {
  const std::vector<std::string> origins = {"https://ops.example", "http://localhost:3000"};
  Response listed = large();
  finish(request({{"origin", "https://ops.example"}}), origins, listed);
  EXPECT_EQ(header(listed, "Access-Control-Allow-Origin"), "https://ops.example");
  EXPECT_EQ(header(listed, "Access-Control-Allow-Credentials"), "(none)");
  EXPECT_EQ(header(listed, "Vary"), "Accept-Encoding, Origin");

  for (const char* evil : {"https://ops.example.evil", "https://OPS.example", "null", "https://ops.example:444"}) {
    Response other = large();
    finish(request({{"origin", evil}}), origins, other);
    EXPECT_EQ(header(other, "Access-Control-Allow-Origin"), "(none)") << evil;
    EXPECT_EQ(header(other, "Vary"), "Accept-Encoding, Origin");
  }
}

TEST(Cors, AllowsTheAuthorizationHeaderInAPreflight) {
  Response preflight;
  preflight.status = 204;
  finish(request({{"origin", "https://a"}}, "OPTIONS"), {"https://a"}, preflight);
  EXPECT_NE(header(preflight, "Access-Control-Allow-Headers").find("Authorization"), std::string::npos);
}

TEST(Cors, AllowsInAPreflightWhatThePathTakes) {
  for (const char* methods : {"GET, HEAD, OPTIONS", "POST, OPTIONS", "GET, HEAD, DELETE, OPTIONS"}) {
    Response preflight;
    preflight.status = 204;
    preflight.headers.emplace_back("Allow", methods);
    finish(request({{"origin", "https://a"}}, "OPTIONS"), {"https://a"}, preflight);
    EXPECT_EQ(header(preflight, "Access-Control-Allow-Methods"), methods);
  }
}

TEST(Serialize, LeavesTheBodyOutForHeadAlone) {
  Response r;
  r.body = "{}";
  const std::string full = serialize(r, {false, true}, 0);
  const std::string head = serialize(r, {true, true}, 0);
  EXPECT_EQ(full, head + "{}");
  EXPECT_NE(head.find("\r\nContent-Length: 2\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nConnection: keep-alive\r\n"), std::string::npos);
}

TEST(Serialize, SaysNothingOfABodyWhereThereIsNone) {
  Response r;
  r.status = 304;
  EXPECT_EQ(serialize(r, {false, false}, 0).find("Content-"), std::string::npos);
}

TEST(Json, SurvivesAnyText) {
  JsonWriter json;
  const std::string nasty("\"\\\x01\n\x7f\xff\xc3\xa4\xf0\x9f\x98\x80\xed\xa0\x80 end", 19);
  json.begin_object().field(nasty, nasty).end_object();
  const std::string text = std::move(json).take();
  boost::system::error_code ec;
  const auto value = boost::json::parse(text, ec);
  ASSERT_FALSE(ec) << text;
  EXPECT_TRUE(is_utf8(text));
}

TEST(Json, WritesNumbersSoThatNobodyRoundsThem) {
  JsonWriter json;
  json.begin_array()
      .value(std::uint64_t{1} << 53)
      .value((std::uint64_t{1} << 53) + 1)
      .value(-(std::int64_t{1} << 53))
      .value(std::numeric_limits<std::int64_t>::min())
      .value(0.1)
      .value(std::numeric_limits<double>::infinity())
      .value(1e300)
      .label(7)
      .end_array();
  EXPECT_EQ(std::move(json).take(),
            "[9007199254740992,\"9007199254740993\",-9007199254740992,\"-9223372036854775808\",0.1,\"Infinity\",1e+300,"
            "\"7\"]");
}

TEST(Json, WritesTimesOrNull) {
  JsonWriter json;
  json.begin_array();
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{1'700'000'000'123}, std::int64_t{-1},
                                std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    json.time(ms);
  }
  json.end_array();
  EXPECT_EQ(std::move(json).take(), "[null,\"2023-11-14T22:13:20.123Z\",\"1969-12-31T23:59:59.999Z\",null,null]");
}

TEST(Base64, AgreesWithRfc4648) {
  const auto encode = [](std::string_view text) {
    return base64({reinterpret_cast<const std::byte*>(text.data()), text.size()});
  };
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foo"), "Zm9v");
  EXPECT_EQ(encode("foob"), "Zm9vYg==");
}

}  // namespace
}  // namespace fieldgate::http
