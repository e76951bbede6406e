// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/upgrade.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <optional>

namespace fieldgate {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t k_host_bytes_max = 255;

// Of ASCII letters alone. Not beast::iequals, which in Boost 1.81 reads one byte
// past the end.
bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool is_alnum(char c) noexcept { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether `list`, elements separated by commas (RFC 9110 section 5.6.1), holds
// one that `matches`.
template <class Matches>
bool list_has(std::string_view list, Matches matches) {
  while (true) {
    const std::size_t comma = list.find(',');
    if (matches(trimmed(list.substr(0, comma)))) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

// Base64 of exactly 16 bytes in its one canonical form (RFC 6455 section 4.1).
bool is_websocket_key(std::string_view key) noexcept {
  if (key.size() != 24 || !key.ends_with("==")) return false;
  const std::string_view digits = key.substr(0, 22);
  return std::ranges::all_of(digits, [](char c) { return is_alnum(c) || c == '+' || c == '/'; }) &&
         std::string_view("AQgw").find(digits.back()) != std::string_view::npos;
}

// The characters of RFC 3986 host and port that a real host uses.
bool is_host(std::string_view host) noexcept {
  return !host.empty() && host.size() <= k_host_bytes_max && std::ranges::all_of(host, [](char c) {
    return is_alnum(c) || std::string_view("-._~:[]%").find(c) != std::string_view::npos;
  });
}

// RFC 6750 section 2.1: b64token.
bool is_token68(std::string_view token) noexcept {
  const std::size_t end = token.find_last_not_of('=');
  if (end == std::string_view::npos) return false;
  return std::ranges::all_of(token.substr(0, end + 1), [](char c) {
    return is_alnum(c) || std::string_view("-._~+/").find(c) != std::string_view::npos;
  });
}

UpgradeRefused refuse(EndReason reason, std::string_view detail) { return {reason, detail}; }

// A header that may come once.
struct Single {
  unsigned count = 0;
  std::string_view value;
  void add(std::string_view v) noexcept {
    ++count;
    value = v;
  }
};

// What the gate looks at, gathered in one pass.
struct Seen {
  Single host, version, key, authorization, origin;
  bool transfer_encoding = false;
  bool body = false;
  bool connection_upgrade = false;
  bool upgrade_websocket = false;
  bool subprotocol = false;

  void add(http::field name, std::string_view value) {
    switch (name) {
      case http::field::host: host.add(value); break;
      case http::field::sec_websocket_version: version.add(value); break;
      case http::field::sec_websocket_key: key.add(value); break;
      case http::field::authorization: authorization.add(value); break;
      case http::field::origin: origin.add(value); break;
      case http::field::transfer_encoding: transfer_encoding = true; break;
      case http::field::content_length: body |= value != "0"; break;
      case http::field::connection:
        connection_upgrade |= list_has(value, [](auto token) { return equals_ignoring_case(token, "upgrade"); });
        break;
      case http::field::upgrade:
        upgrade_websocket |= list_has(value, [](auto token) { return equals_ignoring_case(token, "websocket"); });
        break;
      case http::field::sec_websocket_protocol:
        subprotocol |= list_has(value, [](auto token) { return token == k_subprotocol; });
        break;
      default: break;
    }
  }
};

using Refusal = std::optional<UpgradeRefused>;

// What makes two readers of the same bytes disagree about where a request ends
// or whom it is for; Beast 1.81 lets all of it pass.
Refusal check_framing(const http::request_header<>& request, const Seen& seen) {
  if (request.version() != 11) return refuse(EndReason::upgrade_malformed, "not HTTP/1.1");
  if (seen.transfer_encoding) return refuse(EndReason::upgrade_malformed, "Transfer-Encoding in an upgrade request");
  if (seen.body) return refuse(EndReason::upgrade_malformed, "an upgrade request with a body");
  if (seen.host.count != 1) return refuse(EndReason::upgrade_malformed, "not exactly one Host header");
  if (!is_host(seen.host.value)) return refuse(EndReason::upgrade_malformed, "malformed Host header");
  return std::nullopt;
}

// RFC 6455 section 4.2.1.
Refusal check_websocket(const http::request_header<>& request, const Seen& seen) {
  const std::string_view target(request.target().data(), request.target().size());
  if (target != k_connect_path) return refuse(EndReason::upgrade_path, "unknown path");
  if (request.method() != http::verb::get) return refuse(EndReason::upgrade_method, "method is not GET");
  if (!seen.connection_upgrade || !seen.upgrade_websocket) {
    return refuse(EndReason::upgrade_version, "no upgrade to WebSocket asked for");
  }
  if (seen.version.count != 1 || seen.version.value != "13") {
    return refuse(EndReason::upgrade_version, "Sec-WebSocket-Version is not 13");
  }
  if (seen.key.count != 1 || !is_websocket_key(seen.key.value)) {
    return refuse(EndReason::upgrade_malformed, "Sec-WebSocket-Key is not the base64 of 16 bytes, once");
  }
  if (!seen.subprotocol) return refuse(EndReason::upgrade_subprotocol, "subprotocol fieldgate.v1 not offered");
  return std::nullopt;
}

Refusal check_origin(const Seen& seen, std::span<const std::string> allowed_origins) {
  if (seen.origin.count == 0) return std::nullopt;
  if (seen.origin.count == 1 && std::ranges::find(allowed_origins, seen.origin.value) != allowed_origins.end()) {
    return std::nullopt;
  }
  return refuse(EndReason::upgrade_origin, "Origin is not allowed");
}

// RFC 6750 section 2.1. The scheme is case-insensitive (RFC 9110 section 11.1).
Refusal take_token(const Seen& seen, std::string& token) {
  if (seen.authorization.count == 0) return std::nullopt;
  if (seen.authorization.count > 1) return refuse(EndReason::upgrade_malformed, "more than one Authorization header");
  const std::string_view value = seen.authorization.value;
  const std::size_t space = value.find(' ');
  if (space == std::string_view::npos || !equals_ignoring_case(value.substr(0, space), "bearer")) {
    return refuse(EndReason::unauthenticated, "Authorization is not of the Bearer scheme");
  }
  const std::string_view text = value.substr(std::min(value.find_first_not_of(' ', space), value.size()));
  if (text.size() > k_bearer_token_bytes_max) return refuse(EndReason::upgrade_too_large, "bearer token too long");
  if (!is_token68(text)) return refuse(EndReason::unauthenticated, "malformed bearer token");
  token = text;
  return std::nullopt;
}

UpgradeResult judge(const http::request_header<>& request, std::span<const std::string> allowed_origins,
                    std::size_t consumed) {
  Seen seen;
  for (const auto& field : request) seen.add(field.name(), {field.value().data(), field.value().size()});

  UpgradeAccepted accepted;
  Refusal refused = check_framing(request, seen);
  if (!refused) refused = check_websocket(request, seen);
  if (!refused) refused = check_origin(seen, allowed_origins);
  if (!refused) refused = take_token(seen, accepted.token);
  if (refused) return *refused;
  accepted.consumed = consumed;
  accepted.key = seen.key.value;
  return accepted;
}

}  // namespace

UpgradeResult parse_upgrade(std::span<const std::byte> request, std::span<const std::string> allowed_origins) {
  const std::string_view text(reinterpret_cast<const char*>(request.data()),
                              std::min(request.size(), k_upgrade_bytes_max));
  // The parser runs once, on the whole: a request that trickles in costs no more.
  const std::size_t blank = text.find("\r\n\r\n");
  if (blank == std::string_view::npos) {
    if (text.size() < k_upgrade_bytes_max) return UpgradeNeedMore{};
    return refuse(EndReason::upgrade_too_large, "request header too large");
  }
  const std::string_view head = text.substr(0, blank + 4);
  if (head.find("\r\n ") != std::string_view::npos || head.find("\r\n\t") != std::string_view::npos) {
    return refuse(EndReason::upgrade_malformed, "folded header line");  // RFC 9112 section 5.2
  }

  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(k_upgrade_bytes_max));
  boost::system::error_code error;
  const std::size_t consumed = parser.put(boost::asio::buffer(head), error);
  if (error) return refuse(EndReason::upgrade_malformed, "not an HTTP request");
  if (!parser.is_header_done() || consumed != head.size()) {
    return refuse(EndReason::upgrade_malformed, "not one HTTP request");
  }
  return judge(parser.get().base(), allowed_origins, consumed);
}

}  // namespace fieldgate
