// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/finish.h"

#include "adapters/http/text.h"

#include <openssl/evp.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <span>

namespace fieldgate::http {
namespace {

// The weight of "gzip;q=0.5": in thousandths, 1000 if none is given (RFC 9110
// section 12.4.2); 0 for one that cannot be read, which is not worth compressing for.
int weight(std::string_view parameters) {
  const std::size_t at = parameters.find("q=");
  if (at == std::string_view::npos) return 1000;
  const std::string_view text = trim(parameters.substr(at + 2));
  if (text.empty() || (text[0] != '0' && text[0] != '1') || text.size() > 5) return 0;
  if (text.size() > 1 && text[1] != '.') return 0;
  int thousandths = (text[0] - '0') * 1000;
  int place = 100;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (c < '0' || c > '9') return 0;
    thousandths += (c - '0') * place;
    place /= 10;
  }
  return std::min(thousandths, 1000);
}

std::string_view reason_phrase(unsigned status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "";
  }
}

void add_cors(const Request& request, const std::vector<std::string>& origins, Response& response) {
  if (origins.empty()) return;
  const std::string* origin = request.head.header("origin");
  if (origin == nullptr || std::find(origins.begin(), origins.end(), *origin) == origins.end()) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", *origin);
  if (request.head.method == "OPTIONS") {
    const auto allow = std::find_if(response.headers.begin(), response.headers.end(),
                                    [](const auto& header) { return header.first == "Allow"; });
    const std::string methods = allow == response.headers.end() ? std::string("OPTIONS") : allow->second;
    response.headers.emplace_back("Access-Control-Allow-Methods", methods);
    response.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, If-None-Match");
    response.headers.emplace_back("Access-Control-Max-Age", "600");
  } else {
    response.headers.emplace_back("Access-Control-Expose-Headers", "ETag, X-Request-Id, Retry-After");
  }
}

}  // namespace

bool accepts_gzip(std::string_view accept_encoding) {
  int named = -1;
  int any = 0;
  for_each_item(accept_encoding, [&](std::string_view item) {
    const std::size_t semicolon = std::min(item.find(';'), item.size());
    const std::string coding = to_lower(trim(item.substr(0, semicolon)));
    const int q = weight(to_lower(item.substr(semicolon)));
    if (coding == "gzip" || coding == "x-gzip") named = std::max(named, q);
    if (coding == "*") any = q;
  });
  return named >= 0 ? named > 0 : any > 0;
}

std::string gzip(std::string_view text) {
  constexpr int k_gzip_window = 15 + 16;
  z_stream stream{};
  if (deflateInit2(&stream, 5, Z_DEFLATED, k_gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // zlib does not write to it
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = deflate(&stream, Z_FINISH);
  out.resize(end == Z_STREAM_END ? stream.total_out : 0);
  deflateEnd(&stream);
  return out;
}

std::string entity_tag(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return "W/\"" + hex(std::span<const unsigned char>(digest).first(16)) + "\"";
}

bool none_match_names(std::string_view if_none_match, std::string_view tag) {
  const auto opaque = [](std::string_view t) { return t.starts_with("W/") ? t.substr(2) : t; };
  bool found = trim(if_none_match) == "*";
  for_each_item(if_none_match, [&](std::string_view item) { found = found || opaque(item) == opaque(tag); });
  return found;
}

void finish(const Request& request, const std::vector<std::string>& cors_origins, Response& response) {
  if (response.tagged && response.status == 200) {
    const std::string tag = entity_tag(response.body);
    response.headers.emplace_back("ETag", tag);
    const std::string* known = request.head.header("if-none-match");
    if (known != nullptr && none_match_names(*known, tag)) {
      response.status = 304;
      response.body.clear();
    }
  }
  response.headers.emplace_back("Cache-Control", response.tagged ? "no-cache" : "no-store");
  response.headers.emplace_back("Vary", cors_origins.empty() ? "Accept-Encoding" : "Accept-Encoding, Origin");
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.headers.emplace_back("X-Request-Id", request.id);
  add_cors(request, cors_origins, response);

  const std::string* encodings = request.head.header("accept-encoding");
  if (response.body.size() > k_gzip_bytes_min && encodings != nullptr && accepts_gzip(*encodings)) {
    std::string packed = gzip(response.body);
    if (!packed.empty() && packed.size() < response.body.size()) {
      response.body = std::move(packed);
      response.headers.emplace_back("Content-Encoding", "gzip");
    }
  }
}

std::string serialize(const Response& response, bool head_only, bool keep_alive, std::int64_t now_unix_ms) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
  const auto add = [&out](std::string_view name, std::string_view value) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  };
  out += reason_phrase(response.status);
  out += "\r\n";
  add("Date", http_date(now_unix_ms));
  if (response.status != 204 && response.status != 304) {
    add("Content-Type", response.content_type);
    add("Content-Length", std::to_string(response.body.size()));
  }
  for (const auto& [name, value] : response.headers) add(name, value);
  add("Connection", keep_alive ? "keep-alive" : "close");
  out += "\r\n";
  if (!head_only) out += response.body;
  return out;
}

}  // namespace fieldgate::http
