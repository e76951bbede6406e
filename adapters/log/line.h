// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/log.h"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace fieldgate::log_line {

inline constexpr std::size_t k_value_bytes_max = 256;
inline constexpr std::size_t k_key_bytes_max = 64;

// One log line without its end: time, level, event and fields in this order.
// Values may come from a peer: control characters, line and paragraph separators
// and bidirectional marks are escaped, invalid UTF-8 becomes U+FFFD, and what is
// longer than k_value_bytes_max is cut and ends in "...".
std::string format(LogFormat format, std::int64_t unix_ms, LogLevel level, std::string_view event,
                   std::initializer_list<LogField> fields);

// ISO 8601 in UTC with milliseconds: "2026-01-31T23:59:59.123Z".
std::string timestamp(std::int64_t unix_ms);

}  // namespace fieldgate::log_line
