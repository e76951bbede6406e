// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/finish.h"

#include "adapters/http/gzip.h"
#include "adapters/http/text.h"
#include "gateway/core/hex.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdio>
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
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "";
  }
}

bool has_header(const Response& response, std::string_view name) {
  return std::any_of(response.headers.begin(), response.headers.end(),
                     [&](const auto& header) { return header.first == name; });
}

void add_header(Response& response, std::string_view name, std::string_view value) {
  if (!has_header(response, name)) response.headers.emplace_back(name, value);
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
    response.headers.emplace_back(
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID");
    response.headers.emplace_back("Access-Control-Max-Age", "600");
  } else {
    response.headers.emplace_back("Access-Control-Expose-Headers",
                                  "ETag, Idempotent-Replay, Location, Retry-After, X-Request-Id");
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

std::string entity_tag(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return "W/\"" + to_hex(std::span<const unsigned char>(digest).first(16)) + "\"";
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
  add_header(response, "Cache-Control", response.tagged ? "no-cache" : "no-store");
  add_header(response, "Vary", cors_origins.empty() ? "Accept-Encoding" : "Accept-Encoding, Origin");
  // For whoever opens an answer in a browser: it is data, and stays where it is.
  add_header(response, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
  add_header(response, "Cross-Origin-Resource-Policy", "same-origin");
  add_header(response, "Referrer-Policy", "no-referrer");
  add_header(response, "X-Content-Type-Options", "nosniff");
  add_header(response, "X-Frame-Options", "DENY");
  add_header(response, "X-Request-Id", request.id);
  add_cors(request, cors_origins, response);

  const std::string* encodings = request.head.header("accept-encoding");
  if (encodings == nullptr || !accepts_gzip(*encodings) || has_header(response, "Content-Encoding")) return;
  if (response.source != nullptr && !response.source->endless()) {
    response.source = gzip(std::move(response.source));
    response.headers.emplace_back("Content-Encoding", "gzip");
  } else if (response.body.size() > k_gzip_bytes_min) {
    std::string packed = gzip(response.body);
    if (!packed.empty() && packed.size() < response.body.size()) {
      response.body = std::move(packed);
      response.headers.emplace_back("Content-Encoding", "gzip");
    }
  }
}

std::string serialize(const Response& response, const Framing& framing, std::int64_t now_unix_ms) {
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
    if (response.source == nullptr) add("Content-Length", std::to_string(response.body.size()));
  }
  if (framing.chunked) add("Transfer-Encoding", "chunked");
  for (const auto& [name, value] : response.headers) add(name, value);
  add("Connection", framing.keep_alive ? "keep-alive" : "close");
  out += "\r\n";
  if (!framing.head_only && response.source == nullptr) out += response.body;
  return out;
}

std::string chunk(std::string_view bytes, bool last) {
  std::string out;
  if (!bytes.empty()) {
    std::array<char, 20> size;
    std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
    out.reserve(bytes.size() + 32);
    out.append(size.data()).append(bytes).append("\r\n");
  }
  if (last) out += "0\r\n\r\n";
  return out;
}

}  // namespace fieldgate::http
