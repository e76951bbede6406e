// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/value.h"

// What particular texts must look like; each is a TextCheck.
namespace fieldgate::config {

std::optional<Complaint> must_be_name(std::string_view text);
std::optional<Complaint> must_be_empty_or_name(std::string_view text);
std::optional<Complaint> must_be_absolute_path(std::string_view text);
// scheme://host or scheme://host:port, lower case, as browsers send it (RFC 6454 section 6.2).
std::optional<Complaint> must_be_origin(std::string_view text);
std::optional<Complaint> must_be_host(std::string_view text);
// The start of an MQTT topic name (MQTT v5 section 4.7), without a slash at either end.
std::optional<Complaint> must_be_topic_prefix(std::string_view text);

}  // namespace fieldgate::config
