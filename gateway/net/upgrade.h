// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/end_reason.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace fieldgate {

inline constexpr std::string_view k_connect_path = "/v1/connect";
inline constexpr std::string_view k_subprotocol = "fieldgate.v1";
inline constexpr std::size_t k_upgrade_bytes_max = 8'192;
inline constexpr std::size_t k_bearer_token_bytes_max = 4'096;

struct UpgradeNeedMore {};

struct UpgradeAccepted {
  std::size_t consumed = 0;  // bytes of the request; what follows is WebSocket
  std::string key;           // Sec-WebSocket-Key
  std::string token;         // bearer token; empty: none
};

struct UpgradeRefused {
  EndReason reason = EndReason::upgrade_malformed;  // one with an http_status
  std::string_view detail;                          // constant text, for the log
};

using UpgradeResult = std::variant<UpgradeNeedMore, UpgradeAccepted, UpgradeRefused>;

// Judges the opening request (RFC 6455 section 4.2.1) of which `request` has
// arrived so far. Offered extensions are ignored: none is ever negotiated.
// Bounds: refuses once k_upgrade_bytes_max hold no complete request.
// Any thread, no state. Cheap until the blank line is there.
UpgradeResult parse_upgrade(std::span<const std::byte> request, std::span<const std::string> allowed_origins);

// The 101 response (RFC 6455 section 4.2.2). `key` as in UpgradeAccepted.
void append_upgrade_accepted(std::string& out, std::string_view key);

// The refusal: status of info(reason), an application/problem+json body (RFC
// 9457) that names the reason, Connection: close.
// Precondition: info(reason).http_status != 0.
void append_upgrade_refused(std::string& out, EndReason reason);

}  // namespace fieldgate
