// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/assets.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <string>

namespace fieldgate::http {
namespace {

Request request_with(std::vector<std::pair<std::string, std::string>> headers) {
  Request request;
  request.head.headers = std::move(headers);
  return request;
}

std::string header(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

std::string unpacked(std::string_view packed, std::size_t bytes_max) {
  constexpr int k_gzip_window = 15 + 16;
  std::string out(bytes_max, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, k_gzip_window) != Z_OK) return {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = inflate(&stream, Z_FINISH);
  out.resize(end == Z_STREAM_END ? stream.total_out : 0);
  inflateEnd(&stream);
  return out;
}

TEST(Assets, AreFoundByTheirPathAndByNothingElse) {
  ASSERT_EQ(assets().size(), 4U);
  for (const Asset& asset : assets()) EXPECT_EQ(find_asset(asset.path), &asset) << asset.path;
  for (const char* path : {"", "/index.html", "/assets/", "/assets/app.js", "/assets/../", "/zzz"}) {
    EXPECT_EQ(find_asset(path), nullptr) << path;
  }
}

TEST(Assets, AreTheSamePackedAndPlain) {
  for (const Asset& asset : assets()) {
    EXPECT_EQ(unpacked(asset.gzip, asset.bytes.size()), asset.bytes) << asset.path;
  }
}

TEST(Assets, ThePageNamesEveryOtherFile) {
  const Asset* page = find_asset("/");
  ASSERT_NE(page, nullptr);
  for (const Asset& asset : assets()) {
    if (&asset == page) continue;
    EXPECT_NE(page->bytes.find('"' + std::string(asset.path) + '"'), std::string_view::npos) << asset.path;
  }
}

TEST(Assets, OnlyWhatIsNamedAfterItsContentIsKeptForGood) {
  for (const Asset& asset : assets()) {
    const std::string kept = header(asset_response(asset, request_with({})), "Cache-Control");
    EXPECT_EQ(kept, asset.path == "/" ? "no-cache" : "public, max-age=31536000, immutable") << asset.path;
  }
}

TEST(Assets, ComeInGzipToThoseWhoTakeIt) {
  const Asset& page = *find_asset("/");
  const Response packed = asset_response(page, request_with({{"accept-encoding", "br, gzip"}}));
  EXPECT_EQ(header(packed, "Content-Encoding"), "gzip");
  EXPECT_EQ(packed.body, page.gzip);
  const Response plain = asset_response(page, request_with({{"accept-encoding", "gzip;q=0"}}));
  EXPECT_EQ(header(plain, "Content-Encoding"), "");
  EXPECT_EQ(plain.body, page.bytes);
  EXPECT_EQ(header(packed, "ETag"), header(plain, "ETag"));
}

TEST(Assets, AreNotSentAgainToThoseWhoHaveThem) {
  for (const Asset& asset : assets()) {
    const Response response = asset_response(asset, request_with({{"if-none-match", std::string(asset.etag)}}));
    EXPECT_EQ(response.status, 304U);
    EXPECT_TRUE(response.body.empty());
    EXPECT_EQ(header(response, "ETag"), asset.etag);
    EXPECT_EQ(asset_response(asset, request_with({{"if-none-match", "W/\"another\""}})).status, 200U);
  }
}

TEST(Assets, LetNothingIntoThePageFromElsewhere) {
  for (const Asset& asset : assets()) {
    const std::string policy = header(asset_response(asset, request_with({})), "Content-Security-Policy");
    for (const char* part : {"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';",
                             "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}) {
      EXPECT_NE(policy.find(part), std::string::npos) << part;
    }
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  }
}

}  // namespace
}  // namespace fieldgate::http
