// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/text_checks.h"

#include "gateway/core/ids.h"
#include "gateway/core/lane_filter.h"

#include <arpa/inet.h>

#include <algorithm>

namespace fieldgate::config {
namespace {

constexpr std::string_view k_name_form = "1 to 128 of A-Z a-z 0-9 . _ : - that start with a letter or digit";

bool all_of(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
}

// RFC 3986 sections 3.3 and 3.4.
bool is_path_and_query(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789ABCDEFabcdef";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      if (std::string_view("\"<>[]\\^`{|}").find(text[i]) != std::string_view::npos) return false;
    } else if (i + 2 >= text.size() || !all_of(text.substr(i + 1, 2), k_hex)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::optional<Complaint> must_be_name(std::string_view text) {
  if (is_valid_name(text)) return std::nullopt;
  return std::string("must be ").append(k_name_form);
}

std::optional<Complaint> must_be_empty_or_name(std::string_view text) {
  if (text.empty() || is_valid_name(text)) return std::nullopt;
  return std::string("must be empty, or ").append(k_name_form);
}

std::optional<Complaint> must_be_absolute_path(std::string_view text) {
  if (text.starts_with('/')) return std::nullopt;
  return "must be a path that starts with /";
}

std::optional<Complaint> must_be_origin(std::string_view text) {
  const std::size_t scheme_end = text.find("://");
  const std::string_view scheme = text.substr(0, std::min(scheme_end, text.size()));
  const std::string_view host = scheme_end == std::string_view::npos ? "" : text.substr(scheme_end + 3);
  const bool good = !scheme.empty() && all_of(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") && !host.empty() &&
                    all_of(host, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]");
  if (good) return std::nullopt;
  return "must be an origin such as https://app.example.com or http://localhost:3000, in lower case and without a path";
}

std::optional<Complaint> must_be_host(std::string_view text) {
  const bool good = !text.empty() && all_of(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:");
  if (good) return std::nullopt;
  return "must be a host name or address, without a scheme, port or brackets";
}

std::optional<Complaint> must_be_topic_prefix(std::string_view text) {
  const bool good = !text.empty() && text.find_first_of("+#") == std::string_view::npos && !text.starts_with('$') &&
                    !text.starts_with('/') && !text.ends_with('/') && text.find("//") == std::string_view::npos;
  if (good) return std::nullopt;
  return "must be topic levels such as fieldgate/v1: no + or #, no empty level, no / at either end, no $ at the start";
}

std::optional<Complaint> must_be_empty_or_absolute_path(std::string_view text) {
  if (text.empty() || text.starts_with('/')) return std::nullopt;
  return "must be empty, or a path that starts with /";
}

std::optional<Complaint> must_be_device_pattern(std::string_view text) {
  std::string fault = device_pattern_fault(text);
  return fault.empty() ? std::nullopt : std::optional(std::move(fault));
}

std::optional<Complaint> must_be_label_selector(std::string_view text) {
  std::string fault = label_selector_fault(text);
  return fault.empty() ? std::nullopt : std::optional(std::move(fault));
}

std::optional<Complaint> must_be_header_name(std::string_view text) {
  if (text.empty() || !all_of(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    return "must be a header's name";
  }
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  static constexpr std::string_view k_own[] = {
      "host",    "connection", "content-length", "content-type", "transfer-encoding", "expect",
      "upgrade", "te",         "trailer"};
  if (std::ranges::find(k_own, lower) != std::end(k_own) || lower.starts_with("fieldgate-")) {
    return "must not be a header that the gateway sets itself";
  }
  return std::nullopt;
}

std::optional<Complaint> must_be_webhook_url(std::string_view text) {
  const std::string_view rest = text.starts_with("https://")  ? text.substr(8)
                                : text.starts_with("http://") ? text.substr(7)
                                                              : std::string_view();
  std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  const std::string_view behind = rest.substr(authority.size());
  const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
  if (authority.empty() || !printable) {
    return "must be http:// or https:// with a host, and without spaces or letters beyond ASCII";
  }
  if (text.find('#') != std::string_view::npos) return "must not hold a fragment (#)";
  if (!is_path_and_query(behind)) return "must have characters such as [ and | percent-encoded behind its host";
  // That there is no user name is seen to elsewhere, where none is shown.
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  // An IPv6 address has colons of its own, and brackets around it.
  const std::size_t host_end = authority.starts_with('[') ? authority.find(']') : authority.find(':');
  const bool bracketed = authority.starts_with('[') && host_end != std::string_view::npos;
  const std::string_view host = bracketed ? authority.substr(1, host_end - 1) : authority.substr(0, host_end);
  in6_addr scratch{};
  const bool good_host = bracketed ? ::inet_pton(AF_INET6, std::string(host).c_str(), &scratch) == 1
                                   : host.find(':') == std::string_view::npos && !must_be_host(host);
  if (!good_host) return "must be http:// or https:// with a host name, an IPv4 address or an IPv6 address in brackets";
  const std::size_t after = bracketed ? host_end + 1 : std::min(host_end, authority.size());
  if (after == authority.size()) return std::nullopt;
  const auto port = authority[after] == ':' ? parse_unsigned(authority.substr(after + 1)) : std::nullopt;
  if (!port || *port < 1 || *port > 65'535) return "must have a port of 1 to 65535 after the host's colon";
  return std::nullopt;
}

std::optional<Complaint> must_be_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  in6_addr scratch{};
  const bool v4 = ::inet_pton(AF_INET, address.c_str(), &scratch) == 1;
  const bool v6 = !v4 && ::inet_pton(AF_INET6, address.c_str(), &scratch) == 1;
  const auto bits = slash == std::string_view::npos ? std::nullopt : parse_unsigned(text.substr(slash + 1));
  if ((v4 && bits && *bits <= 32) || (v6 && bits && *bits <= 128)) return std::nullopt;
  return "must be a network such as 10.1.0.0/16 or fd00::/8";
}

std::optional<Complaint> must_be_client_error(std::string_view text) {
  const auto status = parse_unsigned(text);
  if (status && *status >= 400 && *status <= 499) return std::nullopt;
  return "must be a status from 400 to 499";
}

std::optional<Complaint> must_be_topic_filter(std::string_view text) {
  constexpr const char* k_want = "must be an MQTT topic filter such as app/replies/# and not a shared one";
  if (text.empty() || text.size() > 512 || text.starts_with('$')) return k_want;
  for (std::string_view rest = text;;) {
    const std::size_t slash = rest.find('/');
    const std::string_view level = rest.substr(0, slash);
    const bool last = slash == std::string_view::npos;
    if (level.find_first_of("+#") != std::string_view::npos && level.size() != 1) return k_want;
    if (level == "#" && !last) return k_want;
    if (last) return std::nullopt;
    rest.remove_prefix(slash + 1);
  }
}

}  // namespace fieldgate::config
