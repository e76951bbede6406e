// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/text_checks.h"

#include "gateway/core/ids.h"

#include <algorithm>

namespace fieldgate::config {
namespace {

constexpr std::string_view k_name_form = "1 to 128 of A-Z a-z 0-9 . _ : - that start with a letter or digit";

bool all_of(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
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

}  // namespace fieldgate::config
