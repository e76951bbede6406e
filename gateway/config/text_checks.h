// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/value.h"

// What particular texts must look like; each is a TextCheck.
namespace fieldgate::config {

std::optional<Complaint> must_be_name(std::string_view text);
std::optional<Complaint> must_be_empty_or_name(std::string_view text);
std::optional<Complaint> must_be_absolute_path(std::string_view text);
std::optional<Complaint> must_be_empty_or_absolute_path(std::string_view text);
std::optional<Complaint> must_be_device_pattern(std::string_view text);
std::optional<Complaint> must_be_label_selector(std::string_view text);
// A field name (RFC 9110 section 5.1) that is not the lane's own to set.
std::optional<Complaint> must_be_header_name(std::string_view text);
// http or https, a host, no user information, no fragment (RFC 3986).
std::optional<Complaint> must_be_webhook_url(std::string_view text);
// ADDRESS/BITS with a numeric address (RFC 4632, RFC 4291 section 2.3).
std::optional<Complaint> must_be_network(std::string_view text);
// 400 to 499.
std::optional<Complaint> must_be_client_error(std::string_view text);
// scheme://host or scheme://host:port, lower case, as browsers send it (RFC 6454 section 6.2).
std::optional<Complaint> must_be_origin(std::string_view text);
std::optional<Complaint> must_be_host(std::string_view text);
// The start of an MQTT topic name (MQTT v5 section 4.7), without a slash at either end.
// MQTT v5 section 4.7: at least one level, + and # where they may be, not $share.
std::optional<Complaint> must_be_topic_filter(std::string_view text);
std::optional<Complaint> must_be_topic_prefix(std::string_view text);

}  // namespace fieldgate::config
