// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/assets.h"

#include "adapters/http/finish.h"

#include <algorithm>

namespace fieldgate::http {
namespace {

// Scripts, styles and requests from here alone; nothing inline, no frames, no forms
// that leave the page. data: is for the arrows of select boxes.
constexpr std::string_view k_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace

const Asset* find_asset(std::string_view path) noexcept {
  const std::span<const Asset> all = assets();
  const auto at = std::lower_bound(all.begin(), all.end(), path,
                                   [](const Asset& asset, std::string_view wanted) { return asset.path < wanted; });
  return at != all.end() && at->path == path ? &*at : nullptr;
}

Response asset_response(const Asset& asset, const Request& request) {
  Response response;
  response.content_type = asset.content_type;
  response.headers = {{"ETag", std::string(asset.etag)},
                      {"Cache-Control", asset.immutable ? "public, max-age=31536000, immutable" : "no-cache"},
                      {"Content-Security-Policy", std::string(k_policy)},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
  const std::string* known = request.head.header("if-none-match");
  if (known != nullptr && none_match_names(*known, asset.etag)) {
    response.status = 304;
    return response;
  }
  const std::string* encodings = request.head.header("accept-encoding");
  if (encodings != nullptr && accepts_gzip(*encodings)) {
    response.body = asset.gzip;
    response.headers.emplace_back("Content-Encoding", "gzip");
  } else {
    response.body = asset.bytes;
  }
  return response;
}

}  // namespace fieldgate::http
