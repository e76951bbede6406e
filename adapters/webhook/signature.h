// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::webhook {

// "v1=" and HMAC-SHA256 (RFC 2104) with `key` over "TIMESTAMP.BODY", in lower-case
// hex. The timestamp is in it, so that a request that was overheard cannot be sent
// again later with a new one.
std::string signature_of(std::string_view key, std::int64_t unix_seconds, std::string_view body);

}  // namespace fieldgate::webhook
